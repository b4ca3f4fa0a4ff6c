from pathlib import Path

import pytest

from alexnet.run import provenance as module


@pytest.mark.parametrize(
    ("before", "kernels"),
    [
        (None, ["numba"]),  # a run that begins
        ({"lrn_kernels": ["numba"]}, ["numba"]),
        ({"threads": 1}, ["torch", "numba"]),  # of an older version
        ({"lrn_kernels": ["torch", "numba"]}, ["torch", "numba"]),
    ],
)
def test_a_run_that_goes_on_with_another_lrn_kernel_records_it_and_says_so(
    before, kernels, monkeypatch, caplog
):
    monkeypatch.setattr("alexnet.model.LRN_KERNEL", "numba")
    monkeypatch.setattr(module, "version", lambda package: "1.0")
    found = module.provenance(threads=1, command="python src/train.py", before=before)
    assert found["lrn_kernels"] == kernels
    assert ("continues with numba" in caplog.text) == (before == {"threads": 1})


def test_where_git_does_not_answer_changes_are_unknown(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    assert module._commit(tmp_path) == (None, None)
    assert f"the commit of {tmp_path} is not recorded" in caplog.text
