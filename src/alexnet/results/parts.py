"""The parts of a report, from which both Markdown and the page are made, so that they agree.

A part is a Table, a Picture, a Warning, or a paragraph in a subset of Markdown: `code`, **strong**,
*emphasis*, [link](../folder), "> " before a quotation, "- " before the items of a list. A paragraph
that begins with "## " is the title of the section that follows.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Table:
    """A table. Cells may contain `code`, links, and any names that users give levels and runs."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]

    def __str__(self) -> str:
        """The table as Markdown."""

        def line(cells: Iterable[str]) -> str:
            shown = (" ".join(cell.replace("|", "\\|").split()) for cell in cells)
            return f"| {' | '.join(shown)} |"

        return "\n".join([line(self.head), line("---" for _ in self.head), *map(line, self.rows)])


@dataclass(frozen=True)
class Picture:
    """A figure in the folder of the report: <name>.svg and <name>.png; `text` describes it."""

    name: str
    text: str

    def __str__(self) -> str:
        """The picture as Markdown."""
        return f"![{self.text}]({self.name}.svg)"


@dataclass(frozen=True)
class Warning:
    """A paragraph that is shown as a warning."""

    text: str

    def __str__(self) -> str:
        """The warning as Markdown."""
        return self.text


Part = str | Table | Picture | Warning


@dataclass(frozen=True)
class Section:
    """A title and the parts below it; the first section of a report has the report's title."""

    title: str
    parts: tuple[Part, ...]


def sections(parts: Iterable[Part]) -> Iterator[Section]:
    """Group parts into sections, without empty parts."""
    title, mine = "", list[Part]()
    for part in parts:
        if isinstance(part, str) and re.match("##? ", part):
            if title or mine:
                yield Section(title, tuple(mine))
            title, mine = part.lstrip("# "), []
        elif part:
            mine.append(part)
    yield Section(title, tuple(mine))


def markdown(parts: Iterable[Part]) -> str:
    """Return parts as Markdown, the text of README.md."""
    text = "\n\n".join(str(part) for part in parts if part) + "\n"
    # Names and causes may contain "<"; inside code it needs no escape.
    return re.sub(r"(`[^`\n]*`)|<", lambda found: found[1] or "&lt;", text)
