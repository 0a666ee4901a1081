"""The arguments of the command `classify`."""

import argparse
import difflib
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from densenet_client import __version__

URL_VARIABLE = "DENSENET_URL"
KEY_VARIABLE = "DENSENET_API_KEY"
"""Not an option: what stands on a command line is seen by everyone on the machine."""


def parse_arguments() -> argparse.Namespace:
    """The arguments that the command was called with; exits with 2 if they are wrong."""
    parser = argparse.ArgumentParser(
        prog="classify",
        description="Classify photos with a densenet-serve service.",
        epilog=f"Environment: {URL_VARIABLE} is used without --url, {KEY_VARIABLE} is the API key. "
        "Exit status: 0 all classified, 1 some failed, 2 could not start.",
        allow_abbrev=False,
    )
    add_arguments(parser)
    options, unknown = parser.parse_known_intermixed_args()
    if unknown:
        parser.error(f"unrecognized arguments: {' '.join(unknown)}{suggest(unknown[0], parser)}")
    if options.resume and (options.output_file is None or options.format == "table"):
        parser.error("--resume needs -o FILE and --format json or csv")
    return options


def suggest(unknown: str, parser: argparse.ArgumentParser) -> str:
    """The option that was meant, if one is near."""
    options = re.findall(r"--[a-z-]+", parser.format_usage())
    near = difflib.get_close_matches(unknown.partition("=")[0], options, 1)
    return f"; did you mean {near[0]}?" if near else ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    url = os.environ.get(URL_VARIABLE) or "http://localhost:5000"
    default = "(default: %(default)s)"
    formats = ("table", "json", "csv")
    add = parser.add_argument
    add("paths", nargs="+", metavar="PATH", help="a file, a folder, a pattern ('*.png'), or -")
    add("--url", default=url, help=f"of the service {default}")
    add(
        "--top-k",
        type=between(1, 1000),
        default=1,
        metavar="K",
        help=f"how many classes to name {default}",
    )
    add(
        "--format",
        choices=formats,
        default="table",
        help=f"of the results; json: one object a line {default}",
    )
    add(
        "-o",
        dest="output_file",
        type=Path,
        metavar="FILE",
        help="write results to FILE, which must not exist (default: standard output)",
    )
    # The names of version 1.0, which scripts hold.
    old: dict[str, Any] = {"help": argparse.SUPPRESS, "default": argparse.SUPPRESS}
    add("--output", dest="format", choices=formats, **old)
    add("--to", dest="output_file", type=Path, **old)
    add("--resume", action="store_true", help="continue FILE: skip images that it has classes for")
    add(
        "--concurrency",
        type=between(1, 64),
        default=4,
        metavar="N",
        help=f"requests at a time {default}",
    )
    tls = parser.add_mutually_exclusive_group()
    tls.add_argument(
        "--ca",
        type=Path,
        metavar="FILE",
        help="trust the authorities in this PEM file (default: those of this machine)",
    )
    tls.add_argument(
        "--insecure", action="store_true", help="accept any certificate, so also an attacker's"
    )
    add("--version", action="version", version=f"%(prog)s {__version__}")


def between(least: int, most: int) -> Callable[[str], int]:
    """An argument's type: a whole number in a range."""

    def parse(text: str) -> int:
        if not text.isdecimal() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is no number from {least} to {most}")
        return int(text)

    return parse
