"""DenseNet-121 and its stand-in: weights, engines, and what they promise.

Runs in: Classifier replicas, the launcher's build of the application (weights), the build of
the container image, and the benchmarks. The Ingress reads `spec` alone. Must not
import: Ray, ingress or classifier.
"""
