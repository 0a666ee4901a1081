"""Documents, docstrings, comments and messages are in plain words."""

import re
import subprocess

import pytest

from testing.service import ROOT

BANNED = re.compile(
    r"\b(lest|who(m)?ever|(can|could|cannot|not) be had|save for|for want of|of our own|thereof"
    r"|wherein|ere long)\b",
    re.IGNORECASE,
)
KINDS = ("*.md", "*.py", "*.js", "*.html", "*.yaml", "*.yml", "*.sh", "Makefile", "Dockerfile")


def list_files() -> list[str]:
    command = ["git", "ls-files", *KINDS]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return [name for name in listed.stdout.split() if name != "tests/config/test_prose.py"]


@pytest.mark.parametrize("name", list_files())
def test_a_file_has_no_word_that_a_reader_has_to_read_twice(name: str) -> None:
    found = [line for line in (ROOT / name).read_text().splitlines() if BANNED.search(line)]
    assert not found


def test_every_link_between_documents_leads_somewhere() -> None:
    dead = []
    for page in [ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\((?!https?:)([^)]+)\)", page.read_text()):
            path, _, anchor = target.partition("#")
            file = page.parent / path if path else page
            if not file.exists() or (anchor and anchor not in anchors_of(file.read_text())):
                dead.append(f"{page.name}: {target}")
    assert not dead


def test_the_lines_for_caddy_that_are_shown_are_those_of_the_file() -> None:
    comment, _, lines = (ROOT / "config/Caddyfile.canary").read_text().partition("\n")
    assert comment.startswith("#")
    assert lines in (ROOT / "docs/deployment.md").read_text()


def anchors_of(text: str) -> set[str]:
    """The anchors that GitHub makes of the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in headings}
