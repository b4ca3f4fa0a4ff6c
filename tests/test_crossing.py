"""When a curve reaches a threshold, by a monotone fit that one epoch confirms."""

import random

import numpy as np
import pytest
from scipy.optimize import isotonic_regression

from alexnet.crossing import add_row, epochs_to_error, is_confirmed


def test_a_crossing_is_interpolated_between_the_rows_around_it():
    # from 40 % at epoch 1 to 20 % at epoch 2: 25 % is three quarters of the way
    found = epochs_to_error([1, 2, 3], [0.4, 0.2, 0.1], threshold=0.25)
    assert found == (pytest.approx(1.75), False)


def test_a_row_that_is_a_mean_stands_in_the_middle_of_what_it_is_the_mean_of():
    # 40 % over the first epoch, 20 % over the second: at 0.5 and 1.5
    found = epochs_to_error([1, 2, 3], [0.4, 0.2, 0.1], threshold=0.25, are_means=True)
    assert found == (pytest.approx(1.25), False)


def test_the_fit_is_isotonic_regression():
    chance = random.Random(0)
    errors = [0.5 - 0.002 * i + chance.gauss(0, 0.05) for i in range(100)]
    fit = ()
    for i, error in enumerate(errors):
        fit = add_row(fit, i, error)
    mine = np.repeat([mean for mean, *_ in fit], [rows for _, rows, *_ in fit])
    assert mine == pytest.approx(isotonic_regression(errors, increasing=False).x)


def test_a_row_that_is_below_by_chance_is_no_crossing():
    # The third row is pooled with the two after it, which are higher.
    errors = [0.35, 0.30, 0.24, 0.30, 0.28, 0.22, 0.20, 0.19, 0.18, 0.17]
    epochs = [0.2 * i for i in range(1, 11)]
    at, is_censored = epochs_to_error(epochs, errors, threshold=0.25)
    pooled = (0.24 + 0.30 + 0.28) / 3
    assert not is_censored
    assert at == pytest.approx(1.0 + 0.2 * (pooled - 0.25) / (pooled - 0.22))


def test_what_a_curve_does_an_epoch_after_its_crossing_changes_nothing():
    epochs = [0.5 * i for i in range(1, 13)]
    errors = [0.4, 0.3, 0.2, 0.18, 0.17, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9]
    assert epochs_to_error(epochs, errors, threshold=0.25) == (pytest.approx(1.25), False)


def test_a_run_that_ended_at_its_first_row_below_still_has_a_value():
    # as runs of versions before 0.2 did
    assert epochs_to_error([0.1, 0.2, 0.3], [0.4, 0.3, 0.2], threshold=0.25) == (
        pytest.approx(0.25),
        False,
    )


def test_an_error_equal_to_the_threshold_has_reached_it():
    assert epochs_to_error([1, 2], [0.5, 0.25], threshold=0.25) == (2.0, False)


def test_a_curve_that_begins_across_crosses_at_its_first_row():
    assert epochs_to_error([0.5, 1], [0.2, 0.1], threshold=0.25) == (0.5, False)


def test_a_curve_that_never_crosses_is_censored_at_its_last_epoch():
    for are_means in (False, True):
        found = epochs_to_error([1, 2, 3], [0.5, 0.4, 0.3], threshold=0.25, are_means=are_means)
        assert found == (3, True)


def test_of_some_metrics_more_is_better():
    found = epochs_to_error([1, 2, 3], [0.2, 0.4, 0.8], threshold=0.6, better="higher")
    assert found == (pytest.approx(2.5), False)
    assert epochs_to_error([1, 2], [0.2, 0.4], threshold=0.6, better="higher") == (2, True)


def test_a_curve_without_rows_is_refused():
    with pytest.raises(ValueError, match="no rows"):
        epochs_to_error([], [], threshold=0.25)


def test_a_crossing_is_confirmed_an_epoch_later():
    fit, confirmed = (), []
    for i in range(1, 21):
        fit = add_row(fit, i / 10, 0.45 - 0.4 * i / 10)  # 25 % at epoch 0.5
        confirmed.append(is_confirmed(fit, 0.25))
    assert confirmed.index(True) == 14  # the row at epoch 1.5
