"""Results (section 6): what a sweep's files say, as tables, figures and a computed verdict.

Reads plain files only and never imports torch, so that a report needs nothing that trained.
"""

from alexnet.results.report import Report, write_report
from alexnet.results.runs import Sweep, load_sweep
from alexnet.results.scorecard import write_scorecard

__all__ = ["Report", "Sweep", "load_sweep", "write_report", "write_scorecard"]
