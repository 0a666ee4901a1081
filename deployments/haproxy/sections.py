"""HAProxy's configuration as sections of lines, and edits that expect what they replace."""

import re
from dataclasses import dataclass


class UnexpectedConfig(Exception):
    """Ray has written something else than what the changes are made for."""


@dataclass
class Section:
    """A section of the configuration: `global`, `frontend ...` and the lines below it."""

    title: str
    lines: list[str]

    def replace(self, pattern: str, *replacement: str) -> None:
        """Replace the lines that match, at least one. Raises UnexpectedConfig."""
        found = [index for index, line in enumerate(self.lines) if re.fullmatch(pattern, line)]
        if not found:
            raise UnexpectedConfig(f"'{self.title}' has no line like '{pattern}'")
        kept = [line for index, line in enumerate(self.lines) if index not in found]
        self.lines = [*kept[: found[0]], *replacement, *kept[found[0] :]]

    def expect_no(self, pattern: str) -> None:
        """Raises UnexpectedConfig if there is such a line."""
        if any(re.match(pattern, line) for line in self.lines):
            raise UnexpectedConfig(f"'{self.title}' has a line like '{pattern}' already")

    def insert_after(self, pattern: str, *added: str) -> None:
        """Raises UnexpectedConfig."""
        for index, line in enumerate(self.lines):
            if re.fullmatch(pattern, line):
                self.lines[index + 1 : index + 1] = added
                return
        raise UnexpectedConfig(f"'{self.title}' has no line like '{pattern}'")


def parse(text: str) -> list[Section]:
    """A section begins with a line that is not indented."""
    sections: list[Section] = []
    for line in filter(str.strip, text.splitlines()):
        if line[0] != " ":
            sections.append(Section(line, []))
        elif not sections:
            raise UnexpectedConfig(f"the first line is not a section's: '{line}'")
        else:
            sections[-1].lines.append("    " + line.strip())
    return sections


def find(sections: list[Section], title: str) -> Section:
    """Raises UnexpectedConfig."""
    found = [each for each in sections if each.title == title]
    if len(found) != 1:
        raise UnexpectedConfig(f"it has {len(found)} sections '{title}', and not one")
    return found[0]
