"""Specialization of the columns: one colour-agnostic, the other colour-specific (section 6.1)."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

UNTRAINED = 2 / 3
"""Expected colour specificity of a kernel of independent weights with equal variance."""

CHANCE = 0.05
"""Columns differ beyond chance if at most this share of the shuffles gives as large a difference. A
kernel is specific (agnostic) if at most this share of random kernels score higher (lower)."""

_SHUFFLES = 9_999


@dataclass(frozen=True, kw_only=True)
class ColumnReport:
    """The kernels of one column: their scores, the mean, and a comparison with random kernels.

    `specific` kernels score higher than 95 % of random kernels of their size, `agnostic` kernels
    lower than 95 %. `p_specific` is the share of columns of random kernels whose mean is at least
    as high, `p_agnostic` the share whose mean is at most as high.
    """

    scores: tuple[float, ...]
    mean: float
    specific: int
    agnostic: int
    p_specific: float
    p_agnostic: float

    @property
    def is_largely_specific(self) -> bool:
        """Whether most of its kernels are more colour-specific than random ones."""
        return self.specific > len(self.scores) / 2

    @property
    def is_largely_agnostic(self) -> bool:
        """Whether most of its kernels are less colour-specific than random ones."""
        return self.agnostic > len(self.scores) / 2


@dataclass(frozen=True, kw_only=True)
class KernelReport:
    """Colour specificity of the kernels of conv1, column by column.

    `difference` is the highest mean of a column less the lowest, because which column specializes
    changes from run to run. `p_value` is the share of random divisions of the same kernels into
    columns in which the difference is at least as large. Both are None with one column.
    """

    shape: tuple[int, ...]
    columns: tuple[ColumnReport, ...]
    difference: float | None
    p_value: float | None
    untrained: float = UNTRAINED

    @property
    def most_specific(self) -> ColumnReport:
        """The column with the highest mean."""
        return max(self.columns, key=lambda column: column.mean)

    @property
    def least_specific(self) -> ColumnReport:
        """The column with the lowest mean."""
        return min(self.columns, key=lambda column: column.mean)

    @property
    def differs(self) -> bool:
        """Whether the columns differ beyond chance."""
        return self.p_value is not None and self.p_value <= CHANCE

    @property
    def is_as_in_the_paper(self) -> bool:
        """Whether they differ, one largely colour-specific and one largely colour-agnostic."""
        most, least = self.most_specific, self.least_specific
        return self.differs and most.is_largely_specific and least.is_largely_agnostic


@dataclass(frozen=True, kw_only=True)
class Specialization:
    """A summary over several trained networks; `runs` is the number with several columns.

    `differing` is the number whose columns differ beyond chance, which would happen by chance alone
    in one run of twenty; `as_in_the_paper` is the number that agree with section 6.1. `highest` and
    `lowest` are the means over runs of the most and the least specific column.
    """

    runs: int
    differing: int
    as_in_the_paper: int
    highest: float | None
    lowest: float | None

    @property
    def sentence(self) -> str:
        """The outcome in one sentence, with its numbers and n."""
        if self.highest is None or self.lowest is None:
            return "One column: nothing to compare."
        several = self.runs != 1
        differ = f"the columns differ in colour beyond chance in {self.differing} of {self.runs}"
        return (
            f"Column specialization: {differ} run{'s' if several else ''} "
            f"(p <= {CHANCE:g}), as section 6.1 says (one column largely colour-specific, "
            f"the other largely colour-agnostic, each against random kernels) in "
            f"{self.as_in_the_paper}; colour specificity "
            f"{self.highest:.2f} in the more specific column against {self.lowest:.2f}"
            f"{' on average' if several else ''}, where untrained kernels have {UNTRAINED:.2f}."
        )


def color_specificity(kernels: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the share of a kernel's energy that is not along the grey axis, (K, 3, h, w) -> (K,).

        1 - sum of ((r + g + b) / sqrt(3))**2 / sum of (r**2 + g**2 + b**2), both over all pixels

    It is 0 for a kernel that sees only brightness (r = g = b everywhere) and 1 for one that sees
    only colour (r + g + b = 0 everywhere: red against green, blue against yellow). It does not
    depend on the kernel's scale and sign, on the order of its pixels, or on that of its channels.

    At 1/2, colour and brightness have equal parts, but chance gives another value: independent
    weights have a third of their energy along each of the three axes, and only one of these is
    grey. So an untrained kernel has 2/3 on average (11x11x3 Gaussian weights: 0.67 with a standard
    deviation of 0.035), and so do kernels that use a single channel. A column near 2/3 has learned
    nothing about colour yet, and kernels are therefore compared with random ones. A kernel of zeros
    has the value 0.
    """
    kernels = np.asarray(kernels, dtype=np.float64)
    grey = (kernels.sum(axis=1) ** 2).sum(axis=(1, 2)) / 3
    energy = (kernels**2).sum(axis=(1, 2, 3))
    # Rounding can leave the parts of a grey kernel a little larger than the whole.
    return np.clip(1 - np.divide(grey, energy, out=np.ones_like(grey), where=energy > 0), 0, 1)


def report_kernels(kernels: NDArray[np.floating], *, columns: int) -> KernelReport:
    """Score the kernels of conv1, (K, 3, h, w); column c has the c-th of equal parts.

    In a column's mean every kernel counts once, because the paper's sentence is about kernels;
    weighted by energy it would be about the few strongest. Raises ValueError if these are not
    kernels over red, green and blue, or not finite.
    """
    shape = np.shape(kernels)
    if len(shape) != 4 or shape[1] != 3 or 0 in shape:
        raise ValueError(
            f"kernels must have the shape (K, 3, h, w), red, green and blue, but have {shape}"
        )
    if columns < 1 or shape[0] % columns:
        raise ValueError(f"{shape[0]} kernels cannot be divided into {columns} equal columns")
    if not np.isfinite(kernels).all():
        raise ValueError("some weights of the kernels are not finite: this network has diverged")
    scores = color_specificity(kernels).reshape(columns, -1)
    difference = p_value = None
    if columns > 1:
        difference = float(_spread(scores))
        p_value = _share_of_shuffles_as_far_apart(scores)
    return KernelReport(
        shape=tuple(map(int, shape)),
        columns=_against_random_kernels(scores, pixels=shape[2] * shape[3]),
        difference=difference,
        p_value=p_value,
    )


def specialization(reports: Sequence[KernelReport]) -> Specialization:
    """Summarize whether one column, whichever, specializes in colour in every run (section 6.1)."""
    compared = [report for report in reports if report.difference is not None]
    return Specialization(
        runs=len(compared),
        differing=sum(report.differs for report in compared),
        as_in_the_paper=sum(report.is_as_in_the_paper for report in compared),
        highest=fmean(each.most_specific.mean for each in compared) if compared else None,
        lowest=fmean(each.least_specific.mean for each in compared) if compared else None,
    )


def _against_random_kernels(
    scores: NDArray[np.float64], *, pixels: int
) -> tuple[ColumnReport, ...]:
    """Compare each column with kernels of independent Gaussian weights.

    The energy of such a kernel along the grey axis is chi-squared with `pixels` degrees of freedom,
    and the rest is chi-squared with twice as many, so the score is Beta(pixels, pixels / 2).
    """
    from scipy.special import betaincinv

    low, high = (float(betaincinv(pixels, pixels / 2, q)) for q in (CHANCE, 1 - CHANCE))
    generator = np.random.default_rng(0)  # the same kernels, the same p-values
    random = generator.beta(pixels, pixels / 2, size=(_SHUFFLES, scores.shape[1])).mean(axis=1)
    return tuple(
        ColumnReport(
            scores=tuple(map(float, column)),
            mean=float(mean),
            specific=int((column > high).sum()),
            agnostic=int((column < low).sum()),
            p_specific=(1 + int((random >= mean).sum())) / (1 + _SHUFFLES),
            p_agnostic=(1 + int((random <= mean).sum())) / (1 + _SHUFFLES),
        )
        for column, mean in zip(scores, scores.mean(axis=1), strict=True)
    )


def _spread(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the highest mean of a column less the lowest: (..., columns, kernels) -> (...)."""
    return np.ptp(scores.mean(axis=-1), axis=-1)


def _share_of_shuffles_as_far_apart(scores: NDArray[np.float64]) -> float:
    """Return the p-value of a Monte Carlo permutation test, which counts the observed division."""
    generator = np.random.default_rng(0)  # the same kernels, the same p-value
    shuffled = generator.permuted(np.tile(scores.ravel(), (_SHUFFLES, 1)), axis=1)
    spreads = _spread(shuffled.reshape(_SHUFFLES, *scores.shape))
    as_far = int((spreads >= _spread(scores) - 1e-12).sum())  # equal up to the order of summation
    return (1 + as_far) / (1 + _SHUFFLES)
