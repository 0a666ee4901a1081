"""The command line: `python -m deployments CONFIG`."""

import argparse
import sys
from pathlib import Path

from deployments.common.errors import RayDied, StartupError
from deployments.common.garbage import pause_collection
from deployments.launcher.haproxy import is_private

DESCRIPTION = """\
Serve a configuration until SIGINT or SIGTERM: start a local Ray (or join the one that
RAY_ADDRESS names), deploy the YAML, wait until a warmed-up Classifier answers, print the
address, and finish requests in flight before stopping. The exit status is 1, with the cause,
when the service cannot start.
"""


def main() -> int:
    """Run until stopped. Returns the exit status."""
    arguments = parse_arguments()
    pause_collection()
    try:
        return check(arguments) if arguments.check else serve(arguments)
    except StartupError as error:
        print(f"densenet-serve cannot start: {error}", file=sys.stderr)
        return 1
    except RayDied as error:
        print(f"densenet-serve cannot go on: {error}", file=sys.stderr)
        return 1


# Ray is imported within the functions: its import takes two seconds, which `--help`, a wrong
# option and a file that is not there need not wait for.


def check(arguments: argparse.Namespace) -> int:
    """Find what would keep the service from starting here, ports apart. Raises StartupError."""
    from deployments.launcher.config import read_config
    from deployments.launcher.preflight import check_machine

    config = read_config(arguments.config, arguments.port)
    if is_private():
        check_machine(config)
    print(f"{arguments.config} is valid.")
    return 0


def serve(arguments: argparse.Namespace) -> int:
    """Validate, then launch. Returns the exit status. Raises StartupError or RayDied."""
    from deployments.launcher.config import read_config
    from deployments.launcher.ports import check_ports
    from deployments.launcher.preflight import check_machine, fetch_weights

    config = read_config(arguments.config, arguments.port)
    if is_private():  # elsewhere, what holds the ports may be the very proxy that is joined
        check_ports(config)
        check_machine(config)
        fetch_weights(config)
    from deployments.launcher.lifecycle import launch
    from deployments.launcher.ray_cluster import RayOptions

    launch(config, RayOptions.of(arguments))
    return 0


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m deployments", description=DESCRIPTION)
    parser.add_argument("config", type=Path, help="a Ray Serve YAML, such as serve_config.yaml")
    parser.add_argument(
        "--check",
        action="store_true",
        help="validate CONFIG and the files, weights and GPU it names, and exit with status 0 or "
        "1; with RAY_ADDRESS set, CONFIG alone",
    )
    parser.add_argument(
        "--port",
        metavar="PORT",
        type=parse_port,
        help="the HTTP port, in the place of http_options.port in CONFIG; the gRPC port "
        "moves along",
    )
    add_ray_options(parser)
    return parser.parse_args()


def add_ray_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("the local Ray", "Ignored if RAY_ADDRESS is set.")
    group.add_argument(
        "--node-ip",
        metavar="ADDRESS",
        default="127.0.0.1",
        help="the address of Ray's own ports, the metrics port among them: 127.0.0.1 keeps them "
        "to this machine; another address of it, or 'auto', opens them on all interfaces "
        "(default: %(default)s)",
    )
    group.add_argument(
        "--metrics-port",
        metavar="PORT",
        type=parse_port,
        default=8080,
        help="the port that Prometheus scrapes; a free one if it is 0 or in use "
        "(default: %(default)s)",
    )
    group.add_argument(
        "--dashboard-host",
        metavar="ADDRESS",
        default="127.0.0.1",
        help="the address that Ray's dashboard listens on (default: %(default)s)",
    )


def parse_port(text: str) -> int:
    """A port from 0 to 65535. Raises argparse.ArgumentTypeError."""
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port: 0 to 65535")
    return int(text)
