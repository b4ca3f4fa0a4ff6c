import itertools

import pytest
import scipy.stats
import torch

from alexnet.evaluation import Tally, credits, interval


def credit_as_an_average(row: list[float], label: int, k: int) -> float:
    """How often the label is among the best k, over all orders in which classes may come."""
    orders = list(itertools.permutations(range(len(row))))
    hits = (label in sorted(order, key=lambda i: -row[i])[:k] for order in orders)
    return sum(hits) / len(orders)


@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_classes_that_tie_share_the_places_left_to_them(k: int):
    # Few levels, so that there are many ties.
    rows = torch.randint(3, (20, 5), generator=torch.Generator().manual_seed(0)).double() / 10
    labels = torch.arange(20) % 5

    found = credits(rows, labels, k)

    expected = [
        credit_as_an_average(row, label, k)
        for row, label in zip(rows.tolist(), labels.tolist(), strict=True)
    ]
    assert found.tolist() == pytest.approx(expected)


def test_a_network_that_says_nothing_is_as_good_as_chance():
    tally = Tally()

    tally.add(torch.full((20, 10), 0.1, dtype=torch.float64), torch.zeros(20, dtype=torch.long))

    assert (tally.wrong / 20, tally.wrong_top5 / 20) == pytest.approx((0.9, 0.5))
    assert tally.loss / 20 == pytest.approx(2.302585)


def test_with_five_classes_or_fewer_the_top_5_error_is_zero():
    probabilities = torch.rand(8, 3, dtype=torch.float64)

    assert credits(probabilities, torch.arange(8) % 3, 5).tolist() == [1.0] * 8


def test_errors_are_counted_over_images_and_not_over_batches():
    probabilities = torch.rand(37, 10, dtype=torch.float64)
    labels = torch.arange(37) % 10
    tally = Tally()

    for rows in (slice(0, 30), slice(30, 37)):  # batches of unequal size
        tally.add(probabilities[rows], labels[rows])

    best = probabilities.argsort(1, descending=True)
    assert tally.images == 37
    assert tally.wrong == (best[:, 0] != labels).sum()
    assert tally.wrong_top5 == (best[:, :5] != labels[:, None]).all(1).sum()


@pytest.mark.parametrize(("wrong", "total"), [(0, 10), (16, 500), (160, 500), (10, 10)])
def test_the_interval_is_wilsons(wrong: int, total: int):
    theirs = scipy.stats.binomtest(wrong, total).proportion_ci(method="wilson")

    assert interval(wrong, total) == pytest.approx((theirs.low, theirs.high), abs=1e-9)
