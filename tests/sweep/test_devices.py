import pytest

from alexnet.sweep import devices
from alexnet.sweep.devices import Devices, Share


def of(share: Share | None) -> tuple[tuple[str, ...], int] | None:
    """GPUs and threads. (Hydra imports plugins again, so classes are not always identical.)"""
    return (share.gpus, share.threads) if share else None


def test_a_run_gets_as_many_gpus_as_it_asks_for_and_the_next_one_waits():
    devices = Devices(gpus=["0", "1", "2"], places=3)

    two, one, none = devices.take(2), devices.take(1), devices.take(1)

    assert of(two) == (("0", "1"), 0)
    assert of(one) == (("2",), 0)
    assert none is None


def test_gpus_that_are_given_back_are_given_again():
    devices = Devices(gpus=["0", "1"], places=2)
    first = devices.take(2)
    assert first is not None
    assert devices.take(2) is None

    devices.give_back(first)

    assert of(devices.take(2)) == of(first)


def test_a_run_that_asks_for_more_than_there_is_is_let_go_to_say_so():
    assert of(Devices(gpus=["0"], places=1).take(2)) == (("0",), 0)


def test_without_gpus_runs_share_the_cores():
    devices = Devices(gpus=[], places=2, threads=1)

    assert of(devices.take(0)) == of(devices.take(1)) == ((), 1)
    assert devices.take(0) is None


def test_a_share_is_what_torch_reads():
    assert Share(gpus=("1", "3")).environment() == {"CUDA_VISIBLE_DEVICES": "1,3"}
    assert Share(threads=2).environment() == {"OMP_NUM_THREADS": "2"}
    assert Share().environment() == {}


@pytest.mark.parametrize(
    ("visible", "there", "gpus"),
    [
        (None, 2, ["0", "1"]),
        ("2,5", 8, ["2", "5"]),
        ("0,1", 0, []),  # set by a habit, on a machine that has none
        ("0,1,2", 2, ["0", "1"]),
        ("1,-1,0", 2, ["1"]),  # -1 hides those after it
        ("-1", 2, []),
        ("", 2, []),
        ("GPU-8932f937,MIG-1", 2, ["GPU-8932f937", "MIG-1"]),
    ],
)
def test_the_gpus_of_the_machine_are_those_that_are_there_and_visible(
    monkeypatch: pytest.MonkeyPatch, visible: str | None, there: int, gpus: list[str]
):
    monkeypatch.setattr(devices, "_count", lambda: there)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)

    assert devices.gpus_here() == gpus


def test_a_machine_without_gpus_runs_one_at_a_time_whatever_is_visible(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(devices, "_count", lambda: 0)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    machine = Devices.of_this_machine("auto")

    assert of(machine.take(1)) == ((), 0)
    assert machine.take(1) is None
