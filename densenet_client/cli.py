"""The command `classify`: photos named on the command line, their classes on standard output.

Exit status: 0 all classified, 1 some failed, 2 it could not start.
"""

import argparse
import os
import signal
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from urllib.parse import urlsplit

from rich.console import Console
from urllib3.exceptions import InsecureRequestWarning

from densenet_client.arguments import KEY_VARIABLE, parse_arguments
from densenet_client.client import Client
from densenet_client.errors import ClientError, ServerUnreachable, StartupError, Unauthorized
from densenet_client.files import find_names, load
from densenet_client.messages import REFUSED
from densenet_client.output import Write, make_write, open_output
from densenet_client.result_formats import BadResults, Csv, Format, Json, compact_results
from densenet_client.results import Result
from densenet_client.summary import Summary, describe_unsupported
from densenet_client.terminal import show_progress

LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")
ALL_CLASSIFIED, SOME_FAILED, NOT_STARTED = 0, 1, 2


def main() -> int:
    """Run the command. Returns its exit status."""
    options = parse_arguments()
    try:
        return run(options)
    except (ClientError, StartupError) as error:
        print_error(explain(error, options.url))
        return NOT_STARTED
    except BrokenPipeError:
        # The reader of our output has gone. Python would complain once more when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return SOME_FAILED
    except KeyboardInterrupt:
        die_of_interrupt()
        raise


def run(options: argparse.Namespace) -> int:
    """Classify everything. Returns the exit status; raises StartupError or ClientError."""
    unsupported: Counter[str] = Counter()
    if next(find_names(options.paths, unsupported), None) is None:
        left_out = f"; {describe_unsupported(unsupported)}" if unsupported else ""
        raise StartupError(f"no photos there: {' '.join(options.paths)}{left_out}")
    with make_client(options) as client:
        warn_of_stand_in(client)
        return classify_all(options, client)


def make_client(options: argparse.Namespace) -> Client:
    if options.insecure:
        warnings.simplefilter("ignore", InsecureRequestWarning)  # the user asked for it
    return Client(
        options.url,
        os.environ.get(KEY_VARIABLE),
        concurrency=options.concurrency,
        verify=not options.insecure if options.ca is None else options.ca,
    )


def warn_of_stand_in(client: Client) -> None:
    version = client.status().model_version
    if version.startswith("stand-in-"):
        print_error(f"WARNING: another network answers in place of DenseNet-121: {version}")


def classify_all(options: argparse.Namespace, client: Client) -> int:
    results_format = choose_format(options)
    done = read_done(options, results_format)
    header = results_format.header() if results_format else ""
    unsupported: Counter[str] = Counter()

    def names(unsupported: Counter[str] | None = None) -> Iterator[str]:
        found = find_names(options.paths, unsupported)
        return (name for name in found if name not in done)

    with open_output(options.output_file, options.resume, header) as file:
        screen = Console(file=file)
        write = make_write(file, results_format, screen, names)
        progress = screen if screen.is_terminal else Console(stderr=True)
        with show_progress(progress, names) as advance:
            results = client.stream(map(load, names(unsupported)), options.top_k)
            status = write_all(results, write, advance)
    if unsupported:
        print_error(describe_unsupported(unsupported))
    return status


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
    """Write each result as it comes, then the summary. Returns the exit status."""
    summary = Summary()
    try:
        for result in results:
            write(result)
            advance()
            summary.add(result)
    except ClientError as error:
        if not summary.count:
            raise
        print_error(f"stopped after {summary.count}: {error}")
        return SOME_FAILED
    finish(summary)
    return SOME_FAILED if summary.num_failed else ALL_CLASSIFIED


def finish(summary: Summary) -> None:
    """Print the summary; a script whose run went well reads nothing on standard error."""
    if summary.num_failed or sys.stderr.isatty():
        for line in summary.lines():
            print_error(line)


def explain(error: Exception, url: str) -> str:
    """The message, and what to do: where to put a key, how to start a service on this machine."""
    if isinstance(error, Unauthorized) and not os.environ.get(KEY_VARIABLE):
        return f"{error}; put it into the environment variable {KEY_VARIABLE}"
    refused = isinstance(error, ServerUnreachable) and str(error).endswith(REFUSED)
    if refused and urlsplit(url).hostname in LOCAL_HOSTS:
        return f"{error}; start the service with `make serve`, or name another with --url"
    return str(error)


def print_error(text: object) -> None:
    print(f"classify: {text}", file=sys.stderr)


def die_of_interrupt() -> None:
    """End at once, of the signal itself: a loop in a shell then ends too."""
    print_error("stopped; what is written stays written")
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGINT)
