"""The report and the scorecard as pages."""

import base64
import json
import math
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from alexnet.plotting import COLOURS
from alexnet.results import write_report
from alexnet.results.page.render import _small
from tests.browser import dom_of, look, needs_chromium

from .handmade import LRN_ON_OFF, RELU_VS_TANH, Run, falling, relu_and_tanh, write_sweep

NASTY = "<img src=x onerror=alert(1)>"


@pytest.fixture(autouse=True)
def unsaved_figures(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw figures without saving them, which would take seconds."""
    monkeypatch.setattr("alexnet.plotting.save", lambda drawn, folder: None)


class Page(HTMLParser):
    """The elements of a page, and the text of its script elements."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, Any]]] = []
        self.text: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def page_of(folder: Path) -> str:
    return write_report(folder).page.read_text()


def data_of(page: str) -> dict[str, Any]:
    [text] = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    return json.loads(text)


def test_a_page_begins_with_every_claim_and_its_verdict(sweep_folder: Path):
    claims = [
        {"by": "us", "text": "tanh is slower", "levels": ["tanh"]},
        {"by": "us", "text": "sigmoid is slower", "levels": ["sigmoid"]},
    ]
    runs = relu_and_tanh({0: 2, 1: 2.2, 2: 2.1}, {0: 8, 1: 8.5, 2: 8.3})
    runs += [
        Run(arm={"model.nonlinearity": "sigmoid"}, seed=seed, progress=falling(crossing))
        for seed, crossing in {0: 1, 1: 9, 2: 3}.items()
    ]
    experiment = {**RELU_VS_TANH, "claims": claims}
    experiment = {key: value for key, value in experiment.items() if key not in ("claim", "paper")}
    head = page_of(write_sweep(sweep_folder, experiment, runs)).partition("<nav")[0]
    found = re.findall(r'class="(?:claim|verdict [a-z]+)">([^<]+)', head)
    assert found == ["tanh is slower", "agrees", "sigmoid is slower", "undecided"]


def test_a_page_loads_nothing(sweep_folder: Path):
    page = page_of(
        write_sweep(sweep_folder, RELU_VS_TANH, relu_and_tanh({0: 2, 1: 3}, {0: 8, 1: 9}))
    )
    parsed = Page(page)
    assert not [tag for tag, _ in parsed.elements if tag in ("link", "img", "iframe", "object")]
    assert not [each for _, each in parsed.elements if "src" in each]
    assert "default-src 'none'" in page
    assert "url(" not in page


def test_a_page_says_what_the_markdown_says(sweep_folder: Path):
    """Every cell of every table, and every paragraph without markup."""
    report = write_report(
        write_sweep(sweep_folder, RELU_VS_TANH, relu_and_tanh({0: 2, 1: 3}, {0: 8, 1: 40}, end=12))
    )
    text = " ".join(Page(report.page.read_text()).text).replace("\N{NO-BREAK SPACE}", " ")
    for line in (report.folder / "README.md").read_text().splitlines():
        if line.startswith("| --- "):
            continue
        if line.startswith("|"):
            for cell in line.strip("| ").split(" | "):
                plain = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", cell).replace("`", "")
                assert plain in text
        elif line and "`" not in line and "*" not in line and line[0] not in "#!>-":
            assert line in text


def test_a_page_links_to_the_live_networks_beside_it(sweep_folder: Path):
    write_sweep(sweep_folder, RELU_VS_TANH, relu_and_tanh({0: 2}, {0: 8}))
    assert "live.html" not in page_of(sweep_folder)
    (sweep_folder / "live.html").touch()

    links = [each for tag, each in Page(page_of(sweep_folder)).elements if tag == "a"]

    assert {"href": "../live.html"} in links


@dataclass(kw_only=True)
class Named(Run):
    """A run whose folder has a plain name for any name of its level."""

    folder: str

    @property
    def name(self) -> str:
        return f"{self.folder}_seed-{self.seed}"


def test_names_on_a_page_are_text(sweep_folder: Path):
    names = (NASTY, "</script><script>alert(1)//", "[x](javascript:alert(1))", "a" * 300, "$x^{$")
    runs = [
        Named(arm={"model.name": name}, seed=seed, folder=f"run{index}", val_errors=[0.3, error])
        for index, name in enumerate(names)
        for seed, error in enumerate((0.2 + 0.01 * index, 0.21))
    ]
    page = page_of(write_sweep(sweep_folder, {**LRN_ON_OFF, "factor": ["model.name"]}, runs))
    parsed = Page(page)
    tags = [tag for tag, _ in parsed.elements]
    assert tags.count("script") == page.count("<script") == 3
    assert "img" not in tags
    attributes = [each for _, each in parsed.elements]
    assert not [each for each in attributes if any(key.startswith("on") for key in each)]
    assert not [each for each in attributes if "javascript" in str(each.get("href"))]
    assert NASTY in " ".join(parsed.text)
    assert data_of(page)["arms"][1]["label"] == names[1]


def values_of(data: dict[str, Any], key: str) -> list[list[float | None]]:
    [metric] = [metric for metric in data["metrics"] if metric["key"] == key]
    found = []
    for _, _, text in metric["series"]:
        steps = [step for (step,) in struct.iter_unpack("<H", base64.b64decode(text))]
        scaled = [
            None if step == 65535 else metric["low"] + metric["span"] * step for step in steps
        ]
        found.append([math.exp(x) if metric["log"] and x is not None else x for x in scaled])
    return found


def test_curves_on_a_page_have_the_values_of_the_files(sweep_folder: Path):
    errors = {0: [0.9, 0.5, 0.1234], 1: [0.8, 0.2, 0.0567]}
    runs = [
        Run(arm={"model.normalization": "lrn"}, seed=seed, val_errors=values)
        for seed, values in errors.items()
    ]
    data = data_of(page_of(write_sweep(sweep_folder, LRN_ON_OFF, runs)))
    assert data["grids"] == [[1, 2, 3]]
    assert [run["seed"] for run in data["runs"]] == [0, 1]
    assert values_of(data, "val/error") == [
        pytest.approx(values, rel=1e-3) for values in errors.values()
    ]


@pytest.mark.parametrize("runs", [1, 200])
def test_curves_are_thinned_so_that_a_page_stays_small(sweep_folder: Path, runs: int):
    curve = [1 / epoch for epoch in range(1, 2001)]
    made = [
        Run(arm={"model.normalization": "lrn"}, seed=seed, val_errors=curve) for seed in range(runs)
    ]
    page = page_of(write_sweep(sweep_folder, LRN_ON_OFF, made))
    [first, *_] = values_of(data_of(page), "val/error")
    assert (first[0], first[-1]) == (pytest.approx(1), pytest.approx(1 / 2000, rel=1e-3))
    assert len(page) < (150_000 if runs == 1 else 450_000)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("metrics.csv", "epoch,val/error\n1,0.5\n2,0.4\n3,0.3"),  # the last line is half-written
        ("metrics.csv", "epoch,val/error\n1,nan\n2,0.4\n3,inf\n"),
        ("metrics.csv", "epoch,val/error\n"),
        ("status.json", "{"),
        ("provenance.json", "[]"),
    ],
)
def test_a_damaged_file_does_not_keep_a_page_from_being_written(
    sweep_folder: Path, name: str, text: str
):
    runs = [
        Run(arm={"model.normalization": level}, val_errors=[0.5, 0.4]) for level in ("lrn", "none")
    ]
    write_sweep(sweep_folder, LRN_ON_OFF, runs)
    (sweep_folder / runs[0].name / name).write_text(text)
    data = data_of(page_of(sweep_folder))  # JSON knows no NaN
    assert [arm["label"] for arm in data["arms"]] == ["LRN", "no normalization"]


def test_an_unfinished_sweep_says_how_far_it_has_got(sweep_folder: Path):
    runs = relu_and_tanh({0: 2, 1: 3}, {0: 8, 1: 9})
    runs[2].state, runs[3].state = "running", None
    write_sweep(sweep_folder, RELU_VS_TANH, runs)
    report = write_report(sweep_folder, refresh=5)
    page = report.page.read_text()
    assert "2 of 4 runs so far" in page
    assert "2 of 4 runs so far" in (report.folder / "README.md").read_text()
    refreshes = [each for tag, each in Page(page).elements if each.get("http-equiv") == "refresh"]
    assert [each["content"] for each in refreshes] == ["5"]
    assert [run["done"] for run in data_of(page)["runs"]] == [True, True, False, False]

    write_sweep(sweep_folder, RELU_VS_TANH, relu_and_tanh({0: 2, 1: 3}, {0: 8, 1: 9}))
    finished = write_report(sweep_folder, refresh=5).page.read_text()
    assert 'http-equiv="refresh"' not in finished
    assert "so far" not in finished


def test_a_factor_that_changes_nothing_is_pointed_out(sweep_folder: Path):
    runs = [
        Run(arm={"model.normalization": level}, seed=seed, val_errors=[0.5, 0.4 + seed / 10])
        for level in ("lrn", "none")
        for seed in (0, 1)
    ]
    report = write_report(write_sweep(sweep_folder, LRN_ON_OFF, runs))
    warning = "normalization: none vs lrn changed nothing"
    assert warning in (report.folder / "README.md").read_text()
    assert warning in " ".join(Page(report.page.read_text()).text)


def test_a_figure_on_a_page_keeps_its_numbers_and_its_shape():
    """Coordinates are rounded and made relative; text is unchanged."""
    points = [(10.04, 20.06), (11.0, 22.5), (13.25, 21.0), (13.0, 20.04), (15.5, 25.5)]
    path = " \n".join(f"{'L' if index else 'M'} {x} {y}" for index, (x, y) in enumerate(points))
    small = _small(
        '<?xml version="1.0"?><!-- made by --><svg width="100.5pt" height="50pt" '
        f'viewBox="0 0 100 50"><path d="{path}"/><text>best: 0.0035</text></svg>'
    )
    assert "best: 0.0035" in small
    assert 'viewBox="0 0 100 50"' in small
    [start, steps] = re.search(r'd="M ([^"l]*)l([^"]*)"', small).groups()
    x, y = map(float, start.split())
    found = [(x, y)]
    numbers = list(map(float, steps.split()))
    for dx, dy in zip(numbers[::2], numbers[1::2], strict=True):
        x, y = x + dx, y + dy
        found.append((x, y))
    assert found == [pytest.approx(point, abs=0.051) for point in points]


def test_the_tables_for_latex_are_escaped(sweep_folder: Path):
    runs = [
        Run(arm={"model.pooling": level}, seed=seed, val_errors=[0.4 + seed / 10])
        for level in ("non_overlapping", "50 % & more")
        for seed in (0, 1)
    ]
    report = write_report(
        write_sweep(sweep_folder, {**LRN_ON_OFF, "factor": ["model.pooling"]}, runs)
    )
    text = (report.folder / "table.tex").read_text()
    assert r"non\_overlapping & 2 & 45.0 \%" in text
    assert r"50 \% \& more" in text
    assert text.count(r"\toprule") == text.count(r"\bottomrule") == 2


# In a browser

LOOK = """
<script>
const errors = [];
addEventListener("error", (event) => errors.push(event.message));
addEventListener("securitypolicyviolation", (event) => errors.push(event.violatedDirective));
const over = () => document.querySelector(".u-over"), found = {};
const ink = () => {
  const canvas = document.querySelector("#plot canvas");
  const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
  const [r, g, b] = [213, 94, 0];
  let count = 0;
  for (let i = 0; i < pixels.length; i += 4)
    if (pixels[i] === r && pixels[i + 1] === g && pixels[i + 2] === b) count++;
  return count;
};
const later = () => new Promise((done) => setTimeout(done, 100));
(async () => {
  await later();
  found.before = ink();
  const box = over().getBoundingClientRect();
  const at = { clientX: box.left + box.width - 1, clientY: box.top + 40, bubbles: true };
  for (const type of ["mouseenter", "mousemove"]) over().dispatchEvent(new MouseEvent(type, at));
  await later();
  found.tip = document.getElementById("tip").textContent;
  found.value = document.querySelector('#arms [data-arm="0"] output').textContent;
  document.querySelector('#arms [data-arm="1"]').click();
  await later();
  found.pressed = document.querySelector('#arms [data-arm="1"]').getAttribute("aria-pressed");
  found.after = ink();
  document.getElementById("log-y").click();
  await later();
  found.requests = performance.getEntriesByType("resource").map((each) => each.name);
  found.errors = errors;
  document.body.innerHTML = "";
  document.body.dataset.found = JSON.stringify(found);
})();
</script>
"""


@needs_chromium
def test_a_page_opened_from_disk_shows_values_and_hides_arms(sweep_folder: Path, tmp_path: Path):
    errors = {"lrn": ([0.9, 0.5, 0.30], [0.9, 0.5, 0.32]), "none": ([0.9, 0.6, 0.4],) * 2}
    runs = [
        Run(arm={"model.normalization": level}, seed=seed, val_errors=values)
        for level, seeds in errors.items()
        for seed, values in enumerate(seeds)
    ]
    page = page_of(write_sweep(sweep_folder, LRN_ON_OFF, runs))
    assert COLOURS[1] == "#D55E00"  # the colour of the second arm, counted below
    copy = tmp_path / "page.html"
    copy.write_text(page.replace("</body>", f"{LOOK}</body>"))
    done = dom_of(copy, milliseconds=5000, seconds=120)
    bodies = [each for tag, each in Page(done.stdout).elements if tag == "body"]
    assert bodies, done.stderr
    assert "data-found" in bodies[0], done.stderr
    found = json.loads(bodies[0]["data-found"])

    assert found["errors"] == found["requests"] == []
    assert "CONSOLE" not in done.stderr
    assert "epoch 3" in found["tip"]
    assert "LRN: 31.00 % (30.00 % to 32.00 %)" in found["tip"]
    assert found["value"] == "31.00 %"
    assert found["before"] > 0
    assert (found["after"], found["pressed"]) == (0, "false")


def half_written_with_nasty_names(folder: Path) -> None:
    names = (NASTY, "</script><script>alert(1)//", "a" * 300)
    runs = [
        Named(arm={"model.name": name}, seed=seed, folder=f"run{index}", val_errors=[0.3, 0.2])
        for index, name in enumerate(names)
        for seed in range(2)
    ]
    write_sweep(folder, {**LRN_ON_OFF, "factor": ["model.name"]}, runs)
    for run, rows in ((runs[0], "1,nan\n2,0.4\n3,inf\n"), (runs[1], "1,0.5\n2,0.4\n3,0.")):
        (folder / run.name / "metrics.csv").write_text(f"epoch,val/error\n{rows}")


def one_run_of_one_epoch(folder: Path) -> None:
    write_sweep(folder, LRN_ON_OFF, [Run(arm={"model.normalization": "lrn"}, val_errors=[0.3])])


def two_hundred_runs(folder: Path) -> None:
    curve = [1 / epoch for epoch in range(1, 101)]
    runs = [
        Run(arm={"learning.lr": arm / 10}, seed=seed, val_errors=curve)
        for arm in range(1, 21)
        for seed in range(10)
    ]
    write_sweep(folder, {**LRN_ON_OFF, "factor": ["learning.lr"]}, runs)


@needs_chromium
@pytest.mark.parametrize(
    ("write", "buttons", "first"),
    [
        (half_written_with_nasty_names, 3, NASTY),
        (one_run_of_one_epoch, 1, "LRN"),
        (two_hundred_runs, 20, "learning rate 0.1"),
    ],
)
def test_a_page_of_odd_runs_works_in_a_browser_and_is_no_wider_than_a_phone(
    sweep_folder: Path, tmp_path: Path, write: Callable[[Path], None], buttons: int, first: str
):
    write(sweep_folder)
    found = look(
        page_of(sweep_folder),
        """
        await until(() => document.documentElement.dataset.ready);
        const names = [...document.querySelectorAll("#arms button")];
        found.buttons = names.length;
        found.first = names[0].textContent;
        document.getElementById("log-y").click();
        names[0].dispatchEvent(new MouseEvent("dblclick"));
        found.pressed = names.filter((each) => each.ariaPressed === "true").length;
        found.isDrawn = document.querySelectorAll("#plot canvas").length;
        document.body.style.width = "400px";
        found.width = document.querySelector("main").scrollWidth;
        """,
        tmp_path,
    )
    assert found["errors"] == found["requests"] == []
    assert (found["buttons"], found["first"]) == (buttons, first)
    assert (found["pressed"], found["isDrawn"]) == (1, 1)
    assert found["width"] <= 400
