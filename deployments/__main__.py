"""`python -m deployments CONFIG`: the launcher."""

import sys

from deployments.launcher.cli import main
from deployments.launcher.guard import run_guarded

sys.exit(run_guarded(main))
