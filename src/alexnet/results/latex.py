"""The tables of arms and effects in LaTeX (booktabs), with the numbers of README.md."""

import re

from alexnet.results.parts import Table

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}


def latex(table: Table, *, label: str, caption: str) -> str:
    r"""Return a table environment, which needs only \usepackage{booktabs}."""
    columns = "l" * len(table.head)
    rows = [" & ".join(map(_escaped, row)) + r" \\" for row in (table.head, *table.rows)]
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{_escaped(caption)}}}",
            rf"\label{{tab:{re.sub('[^a-zA-Z0-9]+', '-', label)}}}",
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            rows[0],
            r"\midrule",
            *rows[1:],
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def _escaped(text: str) -> str:
    plain = " ".join(text.replace("`", "").split())
    return "".join(_SPECIAL.get(character, character) for character in plain)
