"""densenet-serve: photos classified by DenseNet-121 on Ray Serve."""
