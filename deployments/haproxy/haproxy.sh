#!/bin/sh
# What Ray starts as HAProxy (RAY_SERVE_HAPROXY_BINARY_PATH); see __main__.py.
PYTHONPATH="$(dirname "$0")/../..${PYTHONPATH:+:$PYTHONPATH}" exec "${DENSENET_PYTHON:-python3}" -P -m deployments.haproxy "$@"
