"""The notebook docs/tour.ipynb runs, and its outputs name no particular machine."""

import re
import sys
from pathlib import Path

import pytest

from alexnet.paths import PROJECT

nbformat = pytest.importorskip("nbformat", reason="needs the extra dev")
nbclient = pytest.importorskip("nbclient", reason="needs the extra dev")
pytest.importorskip("ipykernel", reason="needs the extra dev")

assert PROJECT is not None
TOUR = PROJECT / "docs" / "tour.ipynb"


def test_the_tour_runs_from_a_sweep_to_a_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    notebook = nbformat.read(TOUR, as_version=4)
    [parameters] = [
        each for each in notebook.cells if "parameters" in each.metadata.get("tags", [])
    ]
    parameters.source = (
        f"from pathlib import Path\n\noutputs = Path({str(tmp_path)!r})\n"
        "settings = ['data.fraction=0.1', 'trainer.max_epochs=2', 'trainer.threads=1', 'seed=0']"
    )
    monkeypatch.setenv("PYTHONPATH", str(PROJECT / "src"))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))

    done = nbclient.NotebookClient(notebook, timeout=240, kernel_name="python3").execute()

    outputs = [output for cell in done.cells if cell.cell_type == "code" for output in cell.outputs]
    text = "".join(each.get("text", "") + str(each.get("data", "")) for each in outputs)
    assert "Sweep(relu_vs_tanh on mnist5k: 2 finished; measure: epochs_to_error" in text
    assert re.search(r"taken for \d \(\d+%\), is \d", text)
    assert sum("image/png" in each.get("data", {}) for each in outputs) == 2


def test_the_tour_that_is_shown_names_no_place_of_a_machine():
    text = TOUR.read_text()

    assert "image/png" in text  # it is stored with its figures
    for place in (str(PROJECT), sys.prefix, str(Path.home()) + "/", "/tmp/", "site-packages"):
        assert place not in text
    assert '"output_type": "error"' not in text
