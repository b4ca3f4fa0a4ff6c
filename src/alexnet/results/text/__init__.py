"""The text of a report, as parts from which README.md, index.html and table.tex are made."""

from alexnet.results.text.order import report_parts
from alexnet.results.text.tables import arms_table, effects_table

__all__ = ["arms_table", "effects_table", "report_parts"]
