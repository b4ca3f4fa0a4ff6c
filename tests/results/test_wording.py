"""The wording of numbers."""

import pytest

from alexnet.config.experiment import Experiment, Measure, Paper
from alexnet.results import wording
from alexnet.results.compare import compare
from alexnet.results.effects import Outcome
from alexnet.results.names import printed_title

EPOCHS = Measure(kind="epochs_to_error", metric="train/error", threshold=0.25)
ERROR = Measure(kind="final", metric="val/error")
LOSS = Measure(kind="final", metric="val/loss")


def experiment(measure: Measure, effect) -> Experiment:
    return Experiment(
        name="x", factor=("f",), measure=measure, effect=effect, paper=Paper(value=0.02, note="")
    )


@pytest.mark.parametrize(
    ("measure", "number", "text"),
    [
        (EPOCHS, 5.04, "5.0"),
        (EPOCHS, 0.333, "0.33"),
        (ERROR, 0.1234, "12.3 %"),
        (LOSS, 1.2345, "1.23"),
        (ERROR, None, "-"),
    ],
)
def test_values_carry_their_unit(measure: Measure, number: float | None, text: str):
    assert wording.value(number, measure) == text


@pytest.mark.parametrize(
    ("measure", "effect", "text"),
    [
        (EPOCHS, "ratio", "0.02 times"),
        (ERROR, "difference", "+2 percentage points"),
        (EPOCHS, "difference", "+0.02 epochs"),
        (LOSS, "difference", "+0.02 validation loss"),
    ],
)
def test_the_papers_value_carries_its_unit(measure: Measure, effect, text: str):
    assert wording.paper_value(0.02, experiment(measure, effect)) == text


def test_a_lower_bound_of_a_negative_difference_is_at_most_so_many_fewer():
    outcomes = [
        Outcome(run="", arm={"f": level}, seed=0, fate="finished", value=value, censored=censored)
        for level, value, censored in (("a", 13.0, False), ("b", 10.0, True))
    ]
    about = experiment(EPOCHS, "difference")
    assert "b took at most 3 epochs fewer than a" in wording.answer(
        compare(outcomes, experiment=about), about
    )


@pytest.mark.parametrize(
    ("name", "data", "title"),
    [
        ("relu_vs_tanh", "cifar10", "ReLU vs tanh (section 3.1), CIFAR-10"),
        ("saturating_cifar10", "cifar10", "Saturating CIFAR-10 (section 3.1)"),
        ("saturating_cifar10", "mnist5k", "Saturating CIFAR-10 (section 3.1), MNIST5k"),
        ("lrn_on_imagenet", "ImageNet", "LRN on ImageNet (section 3.1)"),
    ],
)
def test_a_title_names_the_data_once(name: str, data: str, title: str):
    assert printed_title(name, "3.1", data) == title
