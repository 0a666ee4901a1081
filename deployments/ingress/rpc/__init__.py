"""Calls from the Ingress to the Classifier: retries, readiness, admission.

Runs in: Ingress replicas. Must not import: anything of HTTP or gRPC towards clients.
"""
