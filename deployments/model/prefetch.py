"""Fill the caches before the first start: `python -m deployments.model.prefetch [WEIGHTS]`.

WEIGHTS is what the setting `weights` may be. The image is built with this, so that a
container needs neither a download nor the conversion of the graph.
"""

import argparse
import sys

from deployments.common.errors import StartupError
from deployments.model import weights
from deployments.model.base import load_model
from deployments.model.cache import forget_failure


def main() -> int:
    """Returns the exit status: 1 when the weights are required and did not come."""
    arguments = parse_arguments()
    try:
        chosen = weights.resolve(arguments.weights)
        forget_failure()  # the machine that runs the image may reach more than this one
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
