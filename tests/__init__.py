"""Tests: unit (no Ray), integration (real replicas over HTTP), config (every YAML)."""

import os

# Ray guards its own ports with a token, and its clients look for it only when told to. They
# read this once, when ray is imported.
os.environ["RAY_AUTH_MODE"] = "token"

# Two processes share the cores, and torch's threads would wait for each other in a spin.
os.environ["OMP_NUM_THREADS"] = "1"
