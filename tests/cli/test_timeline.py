from pathlib import Path

import pytest

from alexnet.cli.timeline import main


def test_the_cards_of_2012_are_compared_and_drawn(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert main([f"out={tmp_path}"]) == 0

    printed = capsys.readouterr().out
    assert "31% of 1.58 TFLOP/s, fitted to the paper's 5 to 6 days" in printed
    assert "two against one: 0.93 of its time (section 3.2: slightly less)" in printed
    drawing = (tmp_path / "timeline.svg").read_text()
    assert "two GTX 580" in drawing
    assert "Modelled, not measured" in drawing


def test_another_card_has_its_days(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    sheet = ["peak=10", "bandwidth=1e9", "link=1e9", "latency=0", "efficiency=0.5"]

    assert main([*sheet, "name=mine", "batch_size=100", "epochs=1", f"out={tmp_path}"]) == 0

    # Memory and link cost nothing: 6 FLOP for each of 724,406,816 multiplications, but 4 in conv1.
    days = (6 * 724_406_816 - 2 * 105_415_200) * 1_200_000 / 5e12 / 86_400
    [line] = [
        line for line in capsys.readouterr().out.partition("\nmine,")[2].splitlines()
        if "whole network" in line
    ]  # fmt: skip
    assert float(line.split()[-2]) == pytest.approx(days, rel=0.01)
    assert "two mine" in (tmp_path / "timeline.svg").read_text()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["peek=3"], "unknown key peek: did you mean peak?"),
        (["measure"], "measure is not key=value"),
        (["peak=3"], "another card needs peak, bandwidth, link: add bandwidth and link"),
        (["peak=0"], "peak must be a number above 0, but is 0"),
        (["efficiency=31"], "efficiency must be a number above 0 and up to 1"),
        (["batch_size=1.5"], "batch_size must be a positive integer"),
        (["measure=true", "peak=1", "bandwidth=1", "link=1"], "cannot be combined with bandwidth"),
    ],
)
def test_a_wrong_command_is_refused_before_anything_is_computed(
    words: list[str], says: str, capsys: pytest.CaptureFixture[str]
):
    assert main(words) == 2
    assert says in capsys.readouterr().err
