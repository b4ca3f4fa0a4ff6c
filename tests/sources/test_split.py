import numpy as np
import pytest

from alexnet.sources import split as splitting
from alexnet.sources.split import Split, first_of_all_classes, first_of_each_class, hold_out_test


def hold_out_validation(labels: np.ndarray, per_class: int) -> Split:
    names = [f"n{label}" for label in range(labels.max() + 1)]
    return splitting.hold_out_validation(labels, per_class, class_ids=names)


def labels_of(*sizes: int) -> np.ndarray:
    return np.repeat(np.arange(len(sizes)), sizes)


@pytest.mark.parametrize(
    ("sizes", "held_out"),
    [
        ((1300, 732, 600), (50, 50, 50)),
        ((100, 30, 12, 4), (10, 3, 1, 0)),
        ((500, 0, 499), (50, 0, 49)),
    ],
)
def test_fifty_of_every_class_are_held_out_but_at_most_a_tenth(sizes, held_out):
    labels = labels_of(*sizes)
    split = hold_out_validation(labels, 50)

    assert tuple(np.bincount(labels[split.val], minlength=len(sizes))) == held_out
    assert sorted([*split.train, *split.val]) == list(range(len(labels)))


def test_of_small_classes_a_tenth_of_all_is_held_out_and_that_is_said():
    split = hold_out_validation(labels_of(*[1] * 1000), 50)

    assert (len(split.train), len(split.val)) == (900, 100)
    names = ", ".join(f"n{label}" for label in split.val[:5])
    assert split.how.endswith(f"; classes without training images: {names}, and 95 more classes")


def test_a_few_classes_without_training_images_are_all_named():
    split = hold_out_validation(labels_of(*[1] * 12), 50)

    [held_out] = split.val
    assert split.how.endswith(f"; classes without training images: n{held_out}")


def test_the_choice_is_always_the_same_and_random():
    labels = labels_of(100, 100)
    one, other = hold_out_validation(labels, 50), hold_out_validation(labels, 50)

    assert np.array_equal(one.val, other.val)
    assert not np.array_equal(one.val[:10], np.arange(10))


def test_two_images_are_the_least():
    assert len(hold_out_validation(labels_of(1, 1), 50).val) == 1
    with pytest.raises(ValueError, match="add some"):
        hold_out_validation(labels_of(1), 50)


def test_half_of_every_class_is_the_test():
    rest, test = hold_out_test(labels_of(10, 20), 0.5)
    assert np.bincount(labels_of(10, 20)[test]).tolist() == [5, 10]
    assert not set(rest) & set(test)


def test_a_larger_fraction_holds_the_smaller_one():
    labels = np.random.default_rng(0).permutation(labels_of(100, 50, 1))
    tenth, half = first_of_each_class(labels, 0.1), first_of_each_class(labels, 0.5)

    assert np.bincount(labels[tenth]).tolist() == [10, 5, 1]
    assert np.bincount(labels[half]).tolist() == [50, 25, 1]
    assert set(tenth) <= set(half)


def test_a_part_of_all_classes_has_equally_many_images_of_each():
    labels = np.array([0, 0, 0, 0, 1, 1, 1, 2, 2, 5])

    assert first_of_all_classes(labels, 4).tolist() == [0, 4, 7, 9]
    assert first_of_all_classes(labels, 6).tolist() == [0, 1, 4, 5, 7, 9]
    assert first_of_all_classes(labels, 99).tolist() == list(range(10))
