"""Power in verdict.json and the report, against scipy's noncentral t."""

import json
import math
from pathlib import Path
from statistics import stdev
from typing import Any

import pytest
from scipy.stats import nct, t

from alexnet.results import write_report

from .handmade import LRN_ON_OFF, RELU_VS_TANH, Run, relu_and_tanh, write_sweep


def power(effect: float, deviation: float, n: int, *, level: float = 0.05) -> float:
    """Power of a two-sided paired t-test over n seeds, on the side of the effect."""
    critical = t.isf(level / 2, n - 1)
    return float(nct.sf(critical, n - 1, effect / deviation * math.sqrt(n)))


def judged(folder: Path, experiment: dict[str, Any], runs: list[Run]) -> tuple[Any, str]:
    """The power of the first claim, and the report's text."""
    report = write_report(write_sweep(folder, experiment, runs)).folder
    [claim] = json.loads((report / "verdict.json").read_text())["claims"]
    return claim["power"], (report / "README.md").read_text()


def errors(values: dict[str, list[float]]) -> list[Run]:
    return [
        Run(arm={"model.normalization": level}, seed=seed, metrics={"val/error": error})
        for level, found in values.items()
        for seed, error in enumerate(found)
    ]


def test_an_undecided_difference_says_what_it_would_take(tmp_path: Path):
    effects = [0.004, 0.041, 0.013]
    runs = errors({"lrn": [0.11] * 3, "none": [0.11 + effect for effect in effects]})

    found, text = judged(tmp_path, LRN_ON_OFF, runs)

    deviation, more = stdev(effects), found["more_seeds"]
    assert found["n"] == 3
    assert power(found["smallest_effect"], deviation, 3) == pytest.approx(0.8, abs=1e-4)
    assert power(0.02, deviation, 3 + more) >= 0.8 > power(0.02, deviation, 2 + more)
    assert f"the claimed size would take about {more} more seeds." in text
    points = 100 * found["smallest_effect"]
    assert f"n = 3 shows an effect of {points:.3g} percentage points with 80 % power" in text


def test_of_a_ratio_the_smallest_effect_is_a_factor(tmp_path: Path):
    relu, tanh = {0: 1.0, 1: 1.2, 2: 0.9}, {0: 1.5, 1: 1.1, 2: 2.9}

    found, text = judged(tmp_path, RELU_VS_TANH, relu_and_tanh(relu, tanh))

    deviation = stdev(math.log(tanh[seed] / relu[seed]) for seed in relu)
    smallest = math.log(found["smallest_effect"])
    assert power(smallest, deviation, 3) == pytest.approx(0.8, abs=1e-2)
    assert f"a factor of {found['smallest_effect']:.3g} with 80 % power" in text


def test_a_value_and_a_size_need_both_one_sided_tests(tmp_path: Path):
    values = [0.383, 0.391, 0.388]
    claim = {
        "by": "us", "text": "The error is 39 %.", "direction": "value",
        "size": {"kind": "about", "value": 0.39, "margin": 0.01},
    }  # fmt: skip
    experiment = {**LRN_ON_OFF, "claims": [claim]}
    for key in ("claim", "paper", "claimed_levels"):
        experiment.pop(key, None)

    found, _ = judged(tmp_path, experiment, errors({"lrn": values}))

    deviation = stdev(values)
    n = 3 + found["more_seeds"]
    assert found["more_for_size"] == found["more_seeds"]
    # If the error is what is claimed, each of both tests has 90 % power, and both together 80 %.
    assert power(0.01, deviation, n, level=0.1) >= 0.9 > power(0.01, deviation, n - 1, level=0.1)
