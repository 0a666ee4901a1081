"""In CI a test that skips is a test that fails, but for those that are expected to."""

import os
import signal

import pytest

# A shell has what it runs in the background ignore Ctrl-C, and what that starts inherits it: the
# tests that interrupt would wait in vain.
signal.signal(signal.SIGINT, signal.default_int_handler)

EXPECTED_SKIPS = {
    # The official checkpoint can be downloaded neither in CI nor from a package registry.
    "test_the_official_weights_know_the_five_animals",
    # The photographs stand beside the repository, and not in it.
    "test_photographs_get_their_classes",
    "test_photographs_dropped_onto_the_page_get_their_classes",
    "test_the_first_command_of_the_readme_gives_the_output_shown",
    "test_the_command_says_in_one_line_that_a_stand_in_answers",
    # Triton comes with torch for CUDA alone.
    "test_kernels_agree_with_the_operations_of_torch",
    # The corpora of hostile files stand beside the repository, and not in it.
    "test_every_hostile_image_gets_an_answer_of_the_design",
    "test_every_hostile_form_gets_an_answer_of_the_design",
}

_unexpected: list[str] = []


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A file's tests run on one worker, and all that share the running service on one, too."""
    for item in items:
        shared = "service" in getattr(item, "fixturenames", ())
        item.add_marker(pytest.mark.xdist_group("service" if shared else item.path.stem))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    name = report.nodeid.rpartition("::")[2].partition("[")[0].partition("@")[0]
    if report.skipped and os.environ.get("CI") and name not in EXPECTED_SKIPS:
        _unexpected.append(report.nodeid)


def pytest_sessionfinish(session: pytest.Session) -> None:
    if _unexpected and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for nodeid in _unexpected:
        terminalreporter.write_line(f"skipped where no skip is expected: {nodeid}", red=True)
