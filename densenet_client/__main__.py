"""`python -m densenet_client`, the same as `classify`."""

import sys

from densenet_client.command import main

sys.exit(main())
