"""The command `classify`: photos named on the command line, their classes on standard output.

Exit status: 0 all classified, 1 some failed, 2 it could not start.
"""

import argparse
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from rich.console import Console

from densenet_client.client import Client
from densenet_client.errors import ClientError, StartupError
from densenet_client.files import find_names, load
from densenet_client.formats import BadResults, Csv, Format, Json, compact_results
from densenet_client.output import Write, make_write, open_output
from densenet_client.results import Failure, Result
from densenet_client.terminal import show_progress

KEY_VARIABLE = "DENSENET_API_KEY"
"""Not an option: what stands on a command line is seen by everyone on the machine."""

ALL_CLASSIFIED, SOME_FAILED, NOT_STARTED = 0, 1, 2


def main() -> int:
    """Run the command. Returns its exit status."""
    options = parse_arguments()
    try:
        return run(options)
    except (ClientError, StartupError) as error:
        print_error(error)
        return NOT_STARTED
    except BrokenPipeError:
        # Whoever read our output has gone. Python would complain once more when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return SOME_FAILED
    except KeyboardInterrupt:
        die_of_interrupt()
        raise


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="classify",
        description="Classify photos with a densenet-serve service.",
        epilog=f"An access key is taken from the environment variable {KEY_VARIABLE}. "
        "Exit status: 0 all classified, 1 some failed, 2 could not start.",
    )
    add = parser.add_argument
    add("paths", nargs="+", metavar="PATH", help="a file, a directory, a pattern ('*.png'), or -")
    add("--url", default="http://localhost:5000", help="of the service (default: %(default)s)")
    add("--top-k", type=between(1, 1000), default=1, metavar="K", help="how many classes to name")
    add("--format", choices=("table", "json", "csv"), default="table", help="json: one a line")
    add(
        "-o",
        dest="output_file",
        type=Path,
        metavar="FILE",
        help="write results there, not to standard output",
    )
    add("--resume", action="store_true", help="go on with FILE: skip what it has classified")
    add("--concurrency", type=between(1, 64), default=4, metavar="N", help="requests at a time")
    options = parser.parse_args()
    if options.resume and (options.output_file is None or options.format == "table"):
        parser.error("--resume needs -o FILE and --format json or csv")
    return options


def between(least: int, most: int) -> Callable[[str], int]:
    """An argument's type: a whole number in a range."""

    def parse(text: str) -> int:
        if not text.isdecimal() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is no number from {least} to {most}")
        return int(text)

    return parse


def run(options: argparse.Namespace) -> int:
    """Classify everything. Returns the exit status; raises StartupError or ClientError."""
    if next(find_names(options.paths), None) is None:
        raise StartupError(f"no photos there: {' '.join(options.paths)}")
    key = os.environ.get(KEY_VARIABLE)
    with Client(options.url, key, concurrency=options.concurrency) as client:
        warn_if_untrained(client)
        return classify_all(options, client)


def warn_if_untrained(client: Client) -> None:
    if client.status().model_version == "untrained":
        print_error("WARNING: the service's weights are untrained, so every answer is a guess")


def classify_all(options: argparse.Namespace, client: Client) -> int:
    results_format = choose_format(options)
    done = read_done(options, results_format)
    header = results_format.header() if results_format else ""

    def names() -> Iterator[str]:
        return (name for name in find_names(options.paths) if name not in done)

    with open_output(options.output_file, options.resume, header) as file:
        screen = Console(file=file)
        write = make_write(file, results_format, screen)
        progress = screen if screen.is_terminal else Console(stderr=True)
        with show_progress(progress, names) as advance:
            results = client.stream(map(load, names()), options.top_k)
            return write_all(results, write, advance)


def choose_format(options: argparse.Namespace) -> Format | None:
    """None is the table, which only people read."""
    formats: dict[str, Format] = {"json": Json(), "csv": Csv(options.top_k)}
    return formats.get(options.format)


def read_done(options: argparse.Namespace, results_format: Format | None) -> set[str]:
    """The names that the file to resume has classified. Raises StartupError."""
    if not options.resume or results_format is None or not options.output_file.exists():
        return set()
    try:
        return compact_results(options.output_file, results_format)
    except (OSError, ValueError, BadResults) as error:
        raise StartupError(f"{options.output_file} cannot be resumed: {error}") from error


def write_all(results: Iterable[Result], write: Write, advance: Callable[[], None]) -> int:
    """Write each result as it comes. Returns the exit status."""
    written = failed = 0
    try:
        for result in results:
            write(result)
            advance()
            written += 1
            failed += isinstance(result, Failure)
    except ClientError as error:
        if not written:
            raise
        print_error(f"stopped after {written}: {error}")
        return SOME_FAILED
    return SOME_FAILED if failed else ALL_CLASSIFIED


def print_error(text: object) -> None:
    print(f"classify: {text}", file=sys.stderr)


def die_of_interrupt() -> None:
    """End at once, of the signal itself: a loop in a shell then ends too."""
    print_error("stopped; what is written stays written")
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGINT)
