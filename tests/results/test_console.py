"""The output at the end of a sweep, on several kinds of terminals and in a pipe."""

import fcntl
import io
import os
import re
import struct
import termios
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from alexnet.results import write_report
from alexnet.results.console import console_text
from alexnet.results.report import Report

from .handmade import RELU_VS_TANH, Run, falling, relu_and_tanh, write_sweep

ESCAPE = "\x1b"
COLOUR = re.compile(r"\x1b\[[\d;]*3\dm")
LINK = re.compile(r"\x1b\]8;[^;]*;([^\x1b]*)\x1b\\")


@pytest.fixture
def report(sweep_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Report:
    """ReLU reaches 25 % in a quarter of tanh's epochs; the last seed of tanh is missing."""
    monkeypatch.setattr("alexnet.plotting.save", lambda drawn, folder: None)
    runs = relu_and_tanh({0: 1.5, 1: 2.0, 2: 2.5}, {0: 6.0, 1: 8.4, 2: 9.5}, end=12)
    lost = Run(arm={"model.nonlinearity": "tanh"}, seed=3, state="failed", cause="killed")
    return write_report(write_sweep(sweep_folder, RELU_VS_TANH, [*runs, lost]))


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., io.TextIOWrapper]]:
    """Make a terminal with this many columns."""
    opened = []

    def make(columns: int, **environment: str) -> io.TextIOWrapper:
        for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "COLORTERM"):
            monkeypatch.delenv(name, raising=False)
        for name, value in {"TERM": "xterm-256color", **environment}.items():
            monkeypatch.setenv(name, value)
        ours, theirs = os.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        opened.append(ours)
        stream = os.fdopen(theirs, "w", encoding="utf-8")
        opened.append(stream)
        return stream

    yield make
    for each in opened:
        os.close(each) if isinstance(each, int) else each.close()


def pipe(encoding: str = "utf-8") -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(), encoding=encoding)


def seen(text: str) -> str:
    """The text without escape sequences and trailing spaces."""
    plain = re.sub(r"\x1b\[[\d;]*m|\x1b\]8;[^\x1b]*\x1b\\", "", text)
    return "\n".join(map(str.rstrip, plain.splitlines()))


def test_a_pipe_gets_a_row_per_arm_the_verdict_and_the_path_in_plain_text(report: Report):
    lines = console_text(report, pipe()).splitlines()

    assert lines[0] == report.line
    assert re.fullmatch(r"ReLU +█[▁-█]*▁ +2\.0 \(0\.76 to 3\.2\) +3", lines[3])
    assert re.fullmatch(r"tanh +[▁-█]+ +8\.0 \(3\.5 to 12\.4\) +3, 1 failed", lines[4])
    assert lines[-2].startswith("agrees, smaller: A four-layer network with ReLUs reaches 25 %")
    assert lines[-1] == f"report: {report.page}"
    assert ESCAPE not in "".join(lines)


def test_an_arm_that_was_trained_half_as_long_has_half_a_curve(sweep_folder: Path):
    runs = [
        Run(arm={"model.nonlinearity": level}, seed=seed, progress=falling(2.0, end=end))
        for level, end in (("relu", 5), ("tanh", 10))
        for seed in (0, 1)
    ]
    write_sweep(sweep_folder, RELU_VS_TANH, runs)

    text = console_text(write_report(sweep_folder), pipe())

    relu, tanh = re.findall("[▁-█]+", text)
    assert (len(relu), len(tanh)) == (10, 20)
    assert tanh.startswith(relu)


def test_an_encoding_without_the_bars_gets_others(report: Report):
    text = console_text(report, pipe("ascii"))

    text.encode("ascii")
    assert re.search(r"^ReLU +#\S*_ +2\.0", text, flags=re.MULTILINE)


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_lines_fit_the_terminal_and_only_the_path_may_not(
    report: Report, terminal: Callable[..., io.TextIOWrapper], columns: int
):
    lines = seen(console_text(report, terminal(columns))).splitlines()

    assert max(map(len, lines[:-1])) <= columns
    assert lines[-1] == f"report: {report.page}"
    assert all(re.search("[▁-█]{6,}", line) for line in lines if line[:4] in ("ReLU", "tanh"))


def test_a_terminal_gets_colours_and_a_link_and_no_color_takes_the_colours_away(
    report: Report, terminal: Callable[..., io.TextIOWrapper]
):
    page = report.page.absolute().as_uri()
    coloured = console_text(report, terminal(80))
    plain = console_text(report, terminal(80, NO_COLOR="1"))
    dumb = console_text(report, terminal(80, TERM="dumb"))

    assert COLOUR.search(coloured)
    assert not COLOUR.search(plain)
    assert LINK.findall(coloured)[0] == LINK.findall(plain)[0] == page
    assert ESCAPE not in dumb
    assert seen(coloured) == seen(plain) == dumb


def test_a_sweep_in_which_nothing_has_run_ends_in_words(sweep_folder: Path):
    runs = [Run(arm={"model.nonlinearity": level}, state=None) for level in ("relu", "tanh")]
    report = write_report(write_sweep(sweep_folder, RELU_VS_TANH, runs))

    text = console_text(report, pipe())

    assert "0 of 2 runs so far" in text
    assert re.search(r"^ReLU +- +0, 1 missing$", text, flags=re.MULTILINE)
