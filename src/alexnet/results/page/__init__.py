"""Pages that open from disk, one self-contained file each: a report, a scorecard.

They are made of the same parts as README.md. Jinja escapes all names; the charts are uPlot's,
inlined.
"""

from alexnet.results.page.render import report_page, scorecard_page

__all__ = ["report_page", "scorecard_page"]
