from matplotlib.figure import Figure

from alexnet.config.experiment import Measure
from alexnet.plotting import caption
from alexnet.results import wording
from alexnet.results.compare import Comparison
from alexnet.results.figures.labels import colour_of, dashes_of, in_percent, label_ends
from alexnet.results.names import printed_arm
from alexnet.results.survival import Survival


def share_not_there(
    found: Survival, comparison: Comparison, measure: Measure, title: str
) -> Figure:
    """Draw the share of runs that have not reached the error, against epochs, for each arm."""
    figure = Figure(figsize=(7.2, 3.6))
    axes = figure.subplots()
    axes.set_title(title)
    ends = []
    last = max(found.until, *(epoch for curve in found.curves for epoch, _ in curve.steps))
    # The same colours as in the other figures; arms without a run have no curve here.
    looks = {arm.label: (index, printed_arm(arm)) for index, arm in enumerate(comparison.arms)}
    for curve in found.curves:
        index, name = looks[curve.label]
        colour = colour_of(index)
        epochs, shares = (list(each) for each in zip(*curve.steps, strict=True))
        end = max(epochs[-1], *curve.censored) if curve.censored else epochs[-1]
        axes.plot(
            [*epochs, end], [*shares, shares[-1]], drawstyle="steps-post", color=colour,
            linestyle=dashes_of(index), linewidth=2,
        )  # fmt: skip
        for epoch in curve.censored:
            share = min(share for begin, share in curve.steps if begin <= epoch)
            axes.plot(epoch, share, marker="|", markersize=9, color=colour, clip_on=False)
        ends.append(((end, shares[-1]), name, colour))
    axes.set_xlim(0, 1.02 * last)
    axes.set_ylim(0, 1.05)
    in_percent(axes.yaxis, is_fraction=True)
    axes.set_xlabel("epochs")
    axes.set_ylabel("runs not yet at the threshold")
    label_ends(axes, ends)
    counts = "; ".join(f"{looks[curve.label][1]} {curve.n}" for curve in found.curves)
    caption(
        figure,
        f"{wording.name_of_measure(measure).capitalize()}: Kaplan-Meier estimate of the share of "
        f"runs that need longer. Ticks: runs that ended, or diverged, without reaching it. "
        f"n: {counts}.",
    )
    return figure
