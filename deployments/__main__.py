"""`python -m deployments CONFIG`: the launcher, below its guard."""

import sys

from deployments.launcher.start import start

sys.exit(start())
