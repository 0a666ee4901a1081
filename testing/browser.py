"""The Chromium on this machine's path, for tests of the page and of what browsers show."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, sync_playwright

_ARGUMENTS = (
    "--no-sandbox",  # the tests run as root where there is no other user
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@contextmanager
def running_chromium(*arguments: str) -> Iterator[Browser]:
    """Chromium with more arguments than those; skips the test if there is none."""
    executable = shutil.which("chromium")
    if executable is None:
        pytest.skip("there is no chromium on the path")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=executable, args=[*_ARGUMENTS, *arguments]
        )
        yield browser
        browser.close()
