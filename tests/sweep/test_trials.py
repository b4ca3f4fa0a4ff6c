import math

import numpy as np
import pytest

from alexnet.sweep.trials import Axes, sequence


def test_seven_trials_of_eight_doublings_are_the_doublings():
    points = sequence([(0.0005, 0.128)], 7)

    assert sorted(float(each) for (each,) in points) == [0.001 * 2**k for k in range(7)]
    assert points[0] == ("0.008",)  # the middle comes first


def test_trials_are_evenly_spread_on_a_logarithmic_scale_and_written_with_few_digits():
    points = sequence([(1e-4, 1e-1), (1e-6, 1e-2)], 64)

    for axis, (low, high) in enumerate([(1e-4, 1e-1), (1e-6, 1e-2)]):
        texts = [point[axis] for point in points]
        shares = np.log([float(text) / low for text in texts]) / math.log(high / low)
        # Of 64 independent random numbers, some quarter would hold 13 or fewer almost surely.
        assert np.histogram(shares, 4, (0, 1))[0] == pytest.approx([16] * 4, abs=2)
        assert all(len(text.strip("0.").partition("e")[0].replace(".", "")) <= 2 for text in texts)


def test_trials_of_a_narrow_interval_differ_and_a_longer_sequence_begins_with_a_shorter():
    few, many = sequence([(0.01, 0.011)], 5), sequence([(0.01, 0.011)], 200)

    assert many[:5] == few
    assert len(set(many)) == 200


def test_keys_of_intervals_are_taken_in_step_and_all_else_is_crossed():
    levels = {"a": ["1", "2"], "x": ["3", "4"], "b": ["5"], "y": ["6", "7"], "seed": ["0", "1"]}
    axes = Axes(levels, {"x": (1, 9), "y": (1, 9)})
    runs = list(axes.combinations())

    assert axes.count() == len(runs) == 8
    assert runs[0] == {"a": "1", "x": "3", "b": "5", "y": "6", "seed": "0"}
    assert {(run["x"], run["y"]) for run in runs} == {("3", "6"), ("4", "7")}
    assert list(runs[0]) == list(levels)
