"""DenseNet-121: its weights, its engines, and what they promise.

Runs in: Classifier replicas, the launcher's build of the application (weights), the build of
the container image, and the benchmarks. Must not import: Ray, ingress or classifier.
"""
