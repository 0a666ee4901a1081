"""From an upload's bytes to pixels: multipart, decoding, preprocessing.

Runs in: Ingress replicas. Must not import: Ray, or anything of HTTP's routes.
"""
