"""`python -m deployments CONFIG`: the launcher."""

import sys

from deployments.launcher.cli import main

sys.exit(main())
