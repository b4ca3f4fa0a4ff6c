"""Results (section 6): tables, figures and a computed verdict from the files of a sweep.

This package reads plain files only and never imports torch, so reports can be written without it.
"""

from alexnet.results.report import Report, write_report
from alexnet.results.runs import Sweep, load_sweep
from alexnet.results.scorecard import write_scorecard

__all__ = ["Report", "Sweep", "load_sweep", "write_report", "write_scorecard"]
