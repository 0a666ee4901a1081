"""`python -m densenet_client`, the same as `classify`."""

import sys

from densenet_client.cli import main

sys.exit(main())
