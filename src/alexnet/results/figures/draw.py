"""Figures of a sweep, in the style of the paper's Figure 1."""

import matplotlib
from matplotlib.figure import Figure

from alexnet.plotting import COLOURS, STYLE
from alexnet.results.figures.curves import curves
from alexnet.results.figures.effects import arms_and_effects, grid_effects
from alexnet.results.figures.search import search, tuning_budget
from alexnet.results.figures.survival import share_not_there
from alexnet.results.findings import Findings
from alexnet.results.names import printed_title


def draw(findings: Findings) -> dict[str, Figure]:
    """Draw all figures; return them by file name, the one that shows the answer first."""
    sweep, comparison, experiment = findings.sweep, findings.comparison, findings.experiment
    is_time = experiment.measure.kind == "epochs_to_error"
    is_grid = bool(grid_effects(comparison))
    title = printed_title(experiment.name, experiment.section, sweep.data)
    with matplotlib.rc_context(STYLE):
        figures = {"arms_and_effects": arms_and_effects(comparison, experiment, title)}
        if comparison.best:
            figures["search"] = search(comparison, experiment, title)
        found = findings.survival
        if found and len(found.curves) <= len(COLOURS):
            figures["share_not_there"] = share_not_there(
                found, comparison, experiment.measure, title
            )
        if any(len(each.expected) > 1 for each in comparison.budgets):
            figures["tuning_budget"] = tuning_budget(comparison, experiment, title)
        if len(comparison.arms) <= len(COLOURS):  # more lines would be indistinguishable
            lines = curves(sweep, comparison, title)
            if is_time and not is_grid:
                return {"learning_curves": lines, **figures}
            figures["learning_curves" if is_time else "validation_curves"] = lines
    return figures
