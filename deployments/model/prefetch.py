"""Fill the caches before the first start: `python -m deployments.model.prefetch [WEIGHTS]`.

WEIGHTS is what the setting `weights` may be. The image is built with this, so that a
container needs neither the network nor the conversion of the graph.
"""

import argparse
import sys

from deployments.common.errors import StartupError
from deployments.common.settings import OFFICIAL_WEIGHTS_URL
from deployments.model import weights
from deployments.model.base import load_model


def main() -> int:
    """Returns the exit status: 1 where the weights are required and cannot be had."""
    arguments = parse_arguments()
    try:
        chosen = weights.resolve(arguments.weights, OFFICIAL_WEIGHTS_URL)
        load_model(chosen, "cpu")
    except StartupError as error:
        print(f"prefetch: {error}", file=sys.stderr)
        return 1
    print(f"prefetched: {chosen.version}. {chosen.reason}".strip())
    return 0


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m deployments.model.prefetch", description=__doc__
    )
    parser.add_argument("weights", nargs="?", default="auto", help="auto, imagenet, or a path")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
