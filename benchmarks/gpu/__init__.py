"""What a GPU gives: the model alone, decoding, the service, shares of the GPU. `make bench-gpu`."""
