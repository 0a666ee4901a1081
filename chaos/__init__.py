"""The service under faults and overload: `make chaos`, `make overload`."""
