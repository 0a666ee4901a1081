"""The model behind a dynamic batcher.

Runs in: Classifier replicas, on a GPU or the CPU. Must not import: the ingress package.
"""
