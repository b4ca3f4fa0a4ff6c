"""When columns compute and wait, for hand-made layers."""

from functools import partial

import pytest

from alexnet.model import AlexNet
from alexnet.timeline import (
    GTX_580,
    KINDS,
    Layer,
    Machine,
    days,
    efficiency_of,
    layers_of,
    measure,
    seconds_of,
    timeline,
)

# 100 and 200 FLOP forward; the second sees both columns, which send 40 bytes each.
LAYERS = [
    Layer(name="conv2", kind="convolution", shape=(1,), inputs=1, outputs=1, multiply_adds=50),
    Layer(
        name="conv3", kind="convolution", shape=(20,), inputs=20, outputs=1, multiply_adds=100,
        parameters=10, joined=20,
    ),
]  # fmt: skip
# Logits of 2 classes: 4 bytes. An exchange is 1 s long before its first byte.
MACHINE = Machine(
    name="made", rates=dict.fromkeys(KINDS, 100.0), link=10.0, latency=1.0, overlaps=False
)


def steps_of(machine, columns=2):
    events = timeline(LAYERS, machine, columns=columns, images=1, classes=2)
    return seconds_of(events), [(each.layer, each.phase, each.start, each.end) for each in events]


def test_columns_that_do_not_overlap_wait_for_every_exchange():
    seconds, events = steps_of(MACHINE)

    assert events == [
        ("conv2", "forward", 0.0, 1.0),
        ("conv3", "exchange", 1.0, 6.0),  # 1 s + 40 bytes
        ("conv3", "forward", 6.0, 8.0),
        ("logits", "exchange", 8.0, pytest.approx(9.4)),
        ("conv3", "backward", pytest.approx(9.4), pytest.approx(13.4)),
        ("conv3", "exchange", pytest.approx(13.4), pytest.approx(18.4)),
        ("conv2", "backward", pytest.approx(18.4), pytest.approx(20.4)),
        ("conv3", "update", pytest.approx(20.4), pytest.approx(22.4)),  # 5 numbers of 4 bytes
    ]
    assert seconds == pytest.approx(22.4)


def test_columns_that_overlap_compute_with_their_own_half_meanwhile():
    waiting = Machine(**{**vars(MACHINE), "overlaps": True})

    seconds, events = steps_of(waiting)

    assert ("conv3", "forward", 1.0, 2.0) in events  # its own half, during the exchange
    assert ("conv3", "forward", 6.0, 7.0) in events  # the other, when it has arrived
    # 1 s less on the way forward; backward, 3 of 4 s after the first gradients have been sent
    assert seconds == pytest.approx(22.4 - 1.0 - 3.0)


def test_one_column_exchanges_nothing():
    seconds, events = steps_of(MACHINE, columns=1)

    assert seconds == pytest.approx(1 + 2 + 4 + 2 + 2)
    assert "exchange" not in {phase for _, phase, *_ in events}


def test_two_cards_of_2012_take_slightly_less_time_than_one():
    # Section 3.2 says so of this one-GPU network.
    control = layers_of(partial(AlexNet, channels=(48, 128, 192, 192, 256), columns=1))
    column = layers_of(AlexNet, 2)

    for share in (0.2, 0.3, 0.6):
        card = Machine.card("GTX 580", efficiency=share, **GTX_580)
        two, one = (
            seconds_of(timeline(layers, card, columns=columns, images=128))
            for layers, columns in ((column, 2), (control, 1))
        )
        assert 0.9 < two / one < 1


def test_the_efficiency_is_that_at_which_the_step_takes_so_long():
    assert efficiency_of(lambda share: 1 / share + 1, 5.0) == pytest.approx(0.25)
    with pytest.raises(ValueError, match="even at its peak"):
        efficiency_of(lambda share: 1 / share + 1, 1.5)


def test_days_of_a_training():
    # Section 5: 90 epochs of 1.2 million images in batches of 128 are 843,750 steps.
    assert days(0.5, images=128, epochs=90, training_images=1_200_000) == pytest.approx(
        843_750 * 0.5 / 86_400
    )


@pytest.mark.slow
def test_this_machine_is_predicted_from_its_pieces():
    # Others may be busy on the machine: the bounds are wider than what a quiet one reaches.
    measured = measure(columns=2, images=8, rounds=1)
    layers = layers_of(AlexNet, 2)

    predicted = seconds_of(timeline(layers, measured.machine, columns=2, images=8))

    assert predicted / measured.step == pytest.approx(1.0, abs=0.5)
