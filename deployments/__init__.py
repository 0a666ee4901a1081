"""densenet-serve: photos classified by DenseNet-121 on Ray Serve.

Runs in: every process of the service; each package below says which of them run it.
"""
