"""The engine on a GPU, and DenseNet's forward pass rewritten for it.

Runs in: Classifier replicas that have a GPU, and the benchmarks. Must not import: Ray, ingress or
classifier. Other networks than DenseNet run here as torch builds them.
"""
