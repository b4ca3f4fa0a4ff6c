"""Verdicts are as rarely wrong as they say; the whole table is in docs/statistics.md."""

import pytest

from .simulations import coverage, normal, rows


@pytest.mark.parametrize("n", [2, 3, 5, 10])
def test_intervals_of_normal_data_cover_95_per_cent(n: int):
    # 2000 repeats: a standard error of half a per cent
    assert coverage(normal, n) == pytest.approx(0.95, abs=0.015)


@pytest.mark.slow
@pytest.mark.parametrize("n", [2, 3, 5, 10])
def test_false_verdicts_are_at_most_one_in_twenty(n: int):
    for what, found in rows(n):
        if what.startswith("false") and "skewed" not in what:
            assert found <= 0.05 + 0.015, what
