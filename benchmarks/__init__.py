"""The service measured beside its limit and its peers: `make bench`."""
