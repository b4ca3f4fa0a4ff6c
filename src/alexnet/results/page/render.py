import json
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alexnet import __version__
from alexnet.plotting import COLOURS
from alexnet.results import wording
from alexnet.results.findings import Findings
from alexnet.results.page.curves import curves_of
from alexnet.results.parts import Part, Picture, Table, Warning, sections

if TYPE_CHECKING:
    from markupsafe import Markup

STATES = ("finished", "running", "stopped", "censored", "diverged", "failed", "unmeasured",
          "unreadable", "missing", "dead")  # fmt: skip
"""Words that are marked in a cell that contains nothing else."""


def report_page(
    findings: Findings,
    parts: Sequence[Part],
    *,
    folder: Path,
    refresh: int | None = None,
) -> str:
    """Return the HTML page of a sweep's report, with the pictures that are in `folder`.

    The page links to live.html in the sweep's folder, if src/export.py has written it there. With
    `refresh`, the page reloads itself after that many seconds.
    """
    sweep, comparison = findings.sweep, findings.comparison
    first, *others = sections(parts)
    verdicts = wording.verdicts(comparison) or [("", wording.verdict(comparison))]
    return _render(
        "report.html.j2",
        title=first.title,
        first=first,
        sections=others,
        verdicts=verdicts[:1] if comparison.problem else verdicts,
        kind_of=wording.kind_of,
        data=_embedded(curves_of(sweep, comparison)),
        folder=folder,
        refresh=refresh,
        has_live=(sweep.path / "live.html").is_file(),
    )


def scorecard_page(title: str, parts: Iterable[Part]) -> str:
    """Return the HTML page of a scorecard."""
    return _render("scorecard.html.j2", title=title, sections=list(sections(parts)))


def _render(template: str, **content: Any) -> str:
    return str(_environment().get_template(template).render(**content))


@cache
def _environment() -> Any:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("alexnet.results.page", "static"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {
        "block": _block,
        "inline": _inline,
        "colours": COLOURS,
        "static": _static,
        "version": __version__,
        "slug": lambda title: re.sub(r"\W+", "-", title.lower()).strip("-"),
    }
    return environment


def _static(name: str) -> "Markup":
    """Return a file of this package, without escapes."""
    from markupsafe import Markup

    return Markup((Path(__file__).parent / "static" / name).read_text())


def _embedded(content: Mapping[str, Any]) -> "Markup":
    """Return JSON for a script element, escaped so that no name in it can end the element."""
    from markupsafe import Markup

    text = json.dumps(content, separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))


def _block(part: Part, folder: Path | None = None) -> "Markup":
    """Return a part as HTML."""
    from markupsafe import Markup, escape

    if isinstance(part, Table):
        return _table(part)
    if isinstance(part, Picture):
        file = (folder or Path()) / f"{part.name}.svg"
        if not file.exists():
            return Markup("")
        figure = Markup('<figure aria-label="{}">{}</figure>')
        return figure.format(part.text, Markup(_small(file.read_text())))
    text = str(part).strip()
    if isinstance(part, Warning):
        return Markup('<p class="warning" role="note">{}</p>').format(_inline(text))
    if text.startswith("> "):
        return Markup("<blockquote>{}</blockquote>").format(_inline(text[2:]))
    if text.startswith("- "):
        items = (
            Markup("<li>{}</li>").format(_inline(each))
            for each in re.split(r"(?:^|\n)- ", text)[1:]
        )
        return Markup("<ul>{}</ul>").format(Markup("").join(items))
    return Markup("<p>{}</p>").format(_inline(text)) if text else escape("")


def _table(table: Table) -> "Markup":
    from markupsafe import Markup

    columns = range(len(table.head))
    is_number = [
        index > 0 and all(_is_number(row[index]) for row in table.rows) for index in columns
    ]

    def cells(tag: str, row: Sequence[str]) -> "Markup":
        return Markup("").join(
            Markup("<{}{}>{}</{}>").format(
                Markup(tag),
                Markup(' class="number"' if is_number[index] else ""),
                _cell(text) if tag == "td" else _inline(text),
                Markup(tag),
            )
            for index, text in enumerate(row)
        )

    head = Markup("<thead><tr>{}</tr></thead>").format(cells("th", table.head))
    rows = (Markup("<tr>{}</tr>").format(cells("td", row)) for row in table.rows)
    body = Markup("<tbody>{}</tbody>").format(Markup("\n").join(rows))
    return Markup('<div class="scroll"><table>{}{}</table></div>').format(head, body)


def _is_number(text: str) -> bool:
    return not re.search(r"[^\W\d_]{3,}|, ", text)  # of a list, which may be long, lines break


def _cell(text: str) -> "Markup":
    from markupsafe import Markup

    if text in STATES:
        return Markup('<span class="state {}">{}</span>').format(text, text)
    kind = wording.kind_of(text)
    if kind and len(text) < 60:
        return Markup('<span class="verdict {}">{}</span>').format(kind, text)
    return _inline(text)


def _inline(text: str) -> "Markup":
    """Return code, strong, emphasis and relative links as HTML, and all else as text."""
    from markupsafe import Markup, escape

    parts = []
    for index, piece in enumerate(re.split(r"`([^`\n]*)`", text)):
        if index % 2:
            parts.append(f"<code>{escape(piece)}</code>")
            continue
        shown = str(escape(piece)).replace(" %", "\N{NO-BREAK SPACE}%")
        shown = re.sub(
            r"\[([^\[\]]+)\]\(((?![a-z]*:)[\w./+%= -]+)\)", r'<a href="\2">\1</a>', shown
        )
        shown = re.sub(r"\*\*([^*]+)\*\*", r"<strong>\1</strong>", shown)
        shown = re.sub(r"(?<!\w)\*([^*\s][^*]*)\*(?!\w)", r"<em>\1</em>", shown)
        parts.append(shown)
    return Markup("".join(parts))


def _small(svg: str) -> str:
    """Remove what a browser does not need from a matplotlib SVG, and round to 0.1 points."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", svg, flags=re.S)
    width = float(re.search(r'width="([\d.]+)', svg)[1])  # type: ignore[index]
    size = f' style="max-width: {1.35 * width:.0f}px" '
    svg = re.sub(r' width="[^"]*" height="[^"]*"| height="[^"]*" width="[^"]*"', size, svg, count=1)
    svg = re.sub(
        r' id="(?:[a-z]+\d?d?|matplotlib\.axis|PolyCollection|FillBetween\w+)_\d+"', "", svg
    )
    svg = re.sub(r"'DejaVu Sans'[^;\"]*sans-serif", "sans-serif", svg)
    svg = re.sub(r"<[^>]+>", lambda found: _small_tag(found[0]), svg)  # text stays as it is
    return re.sub(r"\s*\n\s*", "\n", svg)


def _small_tag(tag: str) -> str:
    tag = re.sub(r"-?\d+\.\d{2,}", lambda found: f"{float(found[0]):.1f}", tag)
    tag = re.sub(r"(?<=\d)\s*\nL ", " ", tag)  # a path continues with lines
    return re.sub(r"(?<![\d.])(?:-?\d+(?:\.\d)? ){7,}-?\d+(?:\.\d)?(?![\d.])", _relative, tag)


def _relative(found: re.Match[str]) -> str:
    """Rewrite a line through points with relative coordinates, which have fewer digits."""
    tenths = [round(10 * float(number)) for number in found[0].split()]
    if len(tenths) % 2:
        return found[0]
    steps = [after - before for before, after in zip(tenths, tenths[2:], strict=False)]
    return f"{tenths[0] / 10:g} {tenths[1] / 10:g}l{' '.join(f'{step / 10:g}' for step in steps)}"
