import base64
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import alexnet
from alexnet.cli import export
from alexnet.data import MNIST5k, Synthetic
from alexnet.export.live.steps import round_weights
from alexnet.folders.run import RunDir
from alexnet.folders.sweep import SweepDir
from alexnet.sources.photograph import view
from tests.browser import look, needs_chromium
from tests.conftest import Train, the_sweep

from .saved import save_run

# Every level once.
ARMS = (
    ("relu", "lrn", "overlapping"),
    ("tanh", "batch", "average"),
    ("sigmoid", "none", "non_overlapping"),
    ("gelu", "batch", "overlapping"),
    ("silu", "lrn", "average"),
    ("leaky_relu", "none", "overlapping"),
)
COLOURED = ("data=synthetic", "data.num_images=100", "data.size=28", "model.image_size=24",
            "data.augmentation=crop24")  # fmt: skip


def exported(source: Path, tmp_path: Path, *words: str) -> str:
    dest = tmp_path / "live.html"
    assert export.main([f"checkpoint={source}", "format=live", f"dest={dest}", *words]) == 0
    return dest.read_text()


def base64_of(content: bytes) -> str:
    return base64.b64encode(content).decode()


def content_of(page: str) -> dict[str, Any]:
    [text] = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    return json.loads(text)


@pytest.fixture
def sweep(tmp_path: Path) -> SweepDir:
    """Six arms without training, on images of 28 pixels of which the central 24 are seen."""
    folder = SweepDir(tmp_path / "sweep")
    runs = {}
    for arm in ARMS:
        levels = dict(zip(("nonlinearity", "normalization", "pooling"), arm, strict=True))
        for seed in (1, 0) if arm == ARMS[0] else (0,):
            name = f"{'-'.join(arm)}_seed-{seed}"
            runs[name] = {"arm": {f"model.{k}": v for k, v in levels.items()}, "seed": seed}
            run = RunDir(folder.path / name)
            model = {"num_classes": 10, "image_size": 24, **levels}
            save_run(run.path, *COLOURED, seed=seed, pixels=28, prefix="class ", **model)
            run.write_result({"metrics": {"test/error": 0.25}, **runs[name]})
    folder.write_plan({"runs": runs})
    return folder


def probabilities_in(page: str, images: np.ndarray, folder: Path) -> tuple[Tensor, dict[str, Any]]:
    """(arms, N, classes), as the page computes them."""
    script = f"""
      const images = {json.dumps([base64_of(each.tobytes()) for each in images])};
      found.probabilities = page.arms.map((arm) => images.map((text) =>
        run(arm, planesOf(bytesOf(text), page.full)).probabilities));
    """
    found = look(page, script, folder)
    assert found["errors"] == found["requests"] == []
    return torch.tensor(found["probabilities"]), found


@needs_chromium
def test_all_levels_run_in_the_page_as_in_torch(sweep: SweepDir, tmp_path: Path):
    page = exported(sweep.path, tmp_path)
    images = Synthetic(num_images=100, num_classes=10, size=28).load_test().images[:5]

    found, _ = probabilities_in(page, images, tmp_path)

    for arm, its in zip(ARMS, found, strict=True):
        run = sweep.path / f"{'-'.join(arm)}_seed-0"  # of the lowest seed
        net = alexnet.load(run)
        rounded = round_weights(net.net, 8)  # six networks of 16 bits would be too large
        with torch.no_grad():
            expected = [rounded(net.preprocess(each)).softmax(1)[0] for each in images]
        torch.testing.assert_close(its, torch.stack(expected), atol=2e-5, rtol=0)
    assert len(page) <= 1_000_000


@needs_chromium
def test_what_is_dropped_drawn_and_pressed_is_shown(tmp_path: Path):
    save_run(tmp_path / "run", "data=mnist5k", num_classes=10, pixels=28)
    page = exported(tmp_path / "run", tmp_path)
    random = np.random.default_rng(0)
    pixels = random.integers(0, 255, (9, 12, 1)).repeat(3, 2).repeat(5, 0).repeat(5, 1)
    file = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(file, "PNG")
    script = f"""
      const files = new DataTransfer();
      const png = bytesOf("{base64_of(file.getvalue())}");
      files.items.add(new File([png], "a.png", {{ type: "image/png" }}));
      dispatchEvent(new DragEvent("drop", {{ dataTransfer: files }}));
      await until(() => state.truth === null);
      found.dropped = Array.from(state.planes[0]);
      takeFile(new File(["no image"], "b.png"));
      await until(() => element("status").textContent);
      found.status = element("status").textContent;

      const board = element("drawing"), box = board.getBoundingClientRect();
      const at = (type, x, y) => board.dispatchEvent(new PointerEvent(type,
        {{ clientX: box.left + x * box.width, clientY: box.top + y * box.height }}));
      at("pointerdown", 0.2, 0.1);
      for (const y of [0.3, 0.5, 0.7]) at("pointermove", 0.2, y);
      at("pointerup", 0.2, 0.7);
      const before = state.planes;
      await until(() => state.planes !== before);
      found.drawn = Array.from(state.planes[0]);

      element("samples").children[3].click();
      found.truth = element("truth").textContent;
      found.bars = [...element("bars").children].map((each) => each.textContent);
      found.widths = [...document.querySelectorAll("#bars i")].map((each) => each.style.width);
      found.maps = element("maps").children.length;
      found.expected = run(page.arms[0], page.samples[3].planes).probabilities;
    """

    found = look(page, script, tmp_path)

    assert found["errors"] == found["requests"] == []
    # The central square, scaled as in evaluation; the canvas and Pillow round once each.
    expected = view(file.getvalue(), 28)[0].astype(float)
    assert np.abs(np.reshape(found["dropped"], (28, 28)) - expected).max() <= 2
    assert "b.png cannot be read as an image" in found["status"]
    # As in MNIST: 20 pixels high, its centre of mass in the middle.
    drawn = np.reshape(found["drawn"], (28, 28))
    rows, _ = np.nonzero(drawn)
    assert np.ptp(rows) + 1 == 20
    centres = [(np.arange(28) + 0.5) @ drawn.sum(axis) / drawn.sum() for axis in (0, 1)]
    assert centres == [pytest.approx(14, abs=0.6)] * 2
    assert found["truth"] == "A test image: 3"
    assert found["maps"] == 32
    best = int(np.argmax(found["expected"]))
    assert found["bars"][0] == f"{best}{100 * max(found['expected']):.1f} %"
    assert float(found["widths"][0].rstrip("%")) == pytest.approx(100 * max(found["expected"]))


def test_a_page_says_how_far_it_is_from_torch_and_loads_nothing(tmp_path: Path):
    net = save_run(tmp_path / "run", "data=mnist5k", num_classes=10, pixels=28)
    page = exported(tmp_path / "run", tmp_path)
    loaded = alexnet.load(tmp_path / "run")
    images = MNIST5k().load_test().images
    inputs = torch.cat([loaded.preprocess(each.repeat(3, 0)) for each in images[::25]])
    with torch.no_grad():
        exact = net(inputs).softmax(1)
        rounded = round_weights(loaded.net, 16)(inputs).softmax(1)

    stated = float(re.findall(r'<td class="number">([\d.e-]+)</td>', page)[0])

    # Over these images and others.
    assert 0 < float((exact - rounded).abs().max()) <= stated * 1.05 < 1e-3
    assert "default-src 'none'" in page
    assert not re.search(r"(src|href)=[\"'](?!#)|url\(", page)
    assert content_of(page)["digits"]


@pytest.mark.parametrize(
    ("model", "words", "says"),
    [
        ({"_target_": "CifarLocalNet"}, ("model=cifar_local_net",), "this is a CifarLocalNet"),
        ({}, ("data.num_classes=7",), "than the data (7, such as class 0"),
    ],
)
def test_what_cannot_run_in_a_page_is_refused(
    model: dict[str, Any],
    words: tuple[str, ...],
    says: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
):
    data = ("data=synthetic", "data.num_images=100")
    save_run(tmp_path / "run", *data, *words, num_classes=10, prefix="class ", **model)
    dest = tmp_path / "live.html"

    assert export.main([f"checkpoint={tmp_path / 'run'}", "format=live", f"dest={dest}"]) == 2

    assert says in capsys.readouterr().err
    assert not dest.exists()


@needs_chromium
@pytest.mark.slow
def test_a_trained_network_says_the_same_of_1000_images_as_in_torch(train: Train, tmp_path: Path):
    assert train("data=mnist5k", "trainer.max_epochs=2").returncode == 0
    [run] = the_sweep(tmp_path / "outputs").runs()
    page = exported(run.path, tmp_path)
    data = MNIST5k()
    images = np.concatenate([data.load_train_and_val()[1].images, data.load_test().images])
    assert len(images) == 1000

    [found], _ = probabilities_in(page, images, tmp_path)

    net = alexnet.load(run.path)
    with torch.no_grad():
        inputs = torch.cat([net.preprocess(each.repeat(3, 0)) for each in images])
        expected = net(inputs).softmax(1)
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=0)
