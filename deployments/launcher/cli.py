"""The launcher: `python -m deployments CONFIG`.

Starts a Ray of its own (or joins the one RAY_ADDRESS names), deploys the YAML, waits until a
warmed-up Classifier answers, says where, and drains and stops everything on SIGINT and
SIGTERM. Ends with status 1 and the cause when the service cannot come up.
"""

import argparse
import sys
from pathlib import Path

from deployments.common.errors import RayDied, StartupError
from deployments.launcher.config import read_config
from deployments.launcher.lifecycle import StopSignal, launch
from deployments.launcher.ray_cluster import LOCALHOST, RayOptions


def main() -> int:
    """Run until stopped. Returns the exit status."""
    stop = StopSignal()
    arguments = parse_arguments()
    try:
        launch(read_config(arguments.config), RayOptions.of(arguments), stop)
    except StartupError as error:
        print(f"densenet-serve cannot start: {error}", file=sys.stderr)
        return 1
    except RayDied as error:
        print(f"densenet-serve cannot go on: {error}", file=sys.stderr)
        return 1
    return 0


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m deployments", description=__doc__)
    parser.add_argument("config", type=Path, help="a Ray Serve YAML, such as serve_config.yaml")
    ray_options = parser.add_argument_group("the Ray that is started")
    ray_options.add_argument(
        "--node-ip",
        default=LOCALHOST,
        help="with 127.0.0.1, the default, its ports (the metrics' among them) are for this "
        "machine alone; with another address of it, or `auto`, they are on all interfaces",
    )
    ray_options.add_argument(
        "--metrics-port", type=int, default=8080, help="for Prometheus; 0: any; default: 8080"
    )
    ray_options.add_argument(
        "--dashboard-host", default=LOCALHOST, help="where Ray's dashboard listens"
    )
    return parser.parse_args()
