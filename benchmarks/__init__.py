"""The service measured beside its baseline and its peers: `make bench`."""
