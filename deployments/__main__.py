"""`python -m deployments CONFIG`: the launcher."""

import sys

from deployments.launcher.lifecycle import main

sys.exit(main())
