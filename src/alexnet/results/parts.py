"""What a report consists of, before it becomes Markdown or a page: so that the two cannot disagree.

A part is a Table, a Picture, or a paragraph in a small part of Markdown: `code`, **strong**,
*emphasis*, [link](../folder), "> " before a quotation, "- " before the items of a list. A paragraph
that begins with "## " is the title of the section that follows.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Table:
    """Cells may hold `code` and links, and whatever users call their levels and runs."""

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
    """A figure of the report's folder: <name>.svg and <name>.png."""

    name: str
    text: str

    def __str__(self) -> str:
        """The picture as Markdown."""
        return f"![{self.text}]({self.name}.svg)"


@dataclass(frozen=True)
class Warning:
    """A paragraph that nobody should miss."""

    text: str

    def __str__(self) -> str:
        """The warning as Markdown."""
        return self.text


Part = str | Table | Picture | Warning


@dataclass(frozen=True)
class Section:
    """A title and what stands below it; the first section of a report has the report's title."""

    title: str
    parts: tuple[Part, ...]


def sections(parts: Iterable[Part]) -> Iterator[Section]:
    """The parts by section, without empty ones."""
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
    """The text of README.md."""
    text = "\n\n".join(str(part) for part in parts if part) + "\n"
    # Names and causes are not ours; what stands in code is shown as it is.
    return re.sub(r"(`[^`\n]*`)|<", lambda found: found[1] or "&lt;", text)
