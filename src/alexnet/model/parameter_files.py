"""Reading files of parameters from any source. No code in them is run."""

import logging
import pickle
import re
import reprlib
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

log = logging.getLogger(__name__)

# Keys under which programs store a network's parameters, in order of preference.
_USUAL_KEYS = (
    "state_dict", "model_state_dict", "model", "net", "network", "module", "weights", "params",
    "state_dict_ema", "model_ema", "ema",
)  # fmt: skip
_WRAPPERS = ("module", "_orig_mod")  # added to names by DataParallel and torch.compile
_MOST_NAMED = 8

_AS_TENSORS = (
    "write its parameters into a file of PyTorch, by name: "
    'torch.save({"conv1.weight": tensor, ...}, FILE)'
)
# By a file's beginning, or its suffix: what it is, and what to do.
_BEGINNINGS = {
    b"version https://git-lfs": (
        "a pointer of Git LFS instead of the file itself: get the file with git lfs pull"
    ),
    b"\x93NUMPY": f"an array of NumPy: {_AS_TENSORS}",
    b"\x89HDF": f"an HDF5 file, as Keras writes it: {_AS_TENSORS}",
    b"\x1f\x8b": "compressed with gzip: unpack it",
    b"<!DOCTYPE": "a web page: download the file itself",
    b"<html": "a web page: download the file itself",
}
_SUFFIXES = {
    ".caffemodel": f"a model of Caffe: {_AS_TENSORS}, and give layout=caffe",
    ".onnx": f"a model of ONNX: {_AS_TENSORS}",
    ".npy": _BEGINNINGS[b"\x93NUMPY"],
    ".npz": f"arrays of NumPy: {_AS_TENSORS}",
    ".h5": _BEGINNINGS[b"\x89HDF"],
    ".hdf5": _BEGINNINGS[b"\x89HDF"],
    ".keras": f"a model of Keras: {_AS_TENSORS}",
    ".pb": f"a model of TensorFlow: {_AS_TENSORS}",
    ".tflite": f"a model of TensorFlow: {_AS_TENSORS}",
}
_OBJECTS = {
    "multiarray.scalar": "a number of NumPy",
    "numpy.dtype": "a number of NumPy",
    "argparse.Namespace": "the options of a command (argparse.Namespace)",
}


def read_file(path: Path) -> Any:
    """Read what torch.save wrote: tensors and plain data.

    Raises FileNotFoundError if the file does not exist, and ValueError that says what it is instead
    if it is not such a file.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no checkpoint {path}")
    try:
        with path.open("rb") as file:
            if file.read(2) == b"PK":
                _check_archive(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    # For a damaged file, or another kind of file, the reader can raise anything.
    except Exception as error:
        raise ValueError(f"{path} is {_what_else(path, error)}") from error


class _Damaged(Exception):
    """The file is not a usable checkpoint; the message says why."""


def _check_archive(path: Path) -> None:
    """Compare the checksums, which torch does not, and refuse archives that would grow."""
    with zipfile.ZipFile(path) as archive:
        parts, size = archive.infolist(), path.stat().st_size
        if any(part.filename.endswith("constants.pkl") for part in parts):
            raise _Damaged(
                "a program of TorchScript, which is not run: "
                "torch.save(torch.jit.load(FILE).state_dict(), OTHER_FILE) takes its parameters out"
            )
        # torch.save compresses nothing.
        if (declared := sum(part.file_size for part in parts)) > size:
            raise _Damaged(
                f"not a checkpoint: it claims to contain {declared:,} bytes, but has {size:,}. It "
                "is not unpacked"
            )
        if damaged := archive.testzip():
            raise _Damaged(f"damaged: the checksum of {damaged} is wrong. Get it again")


def _what_else(path: Path, error: Exception) -> str:
    if isinstance(error, _Damaged) and path.suffix.lower() not in _SUFFIXES:
        return str(error)
    with path.open("rb") as file:
        beginning = file.read(64)
    if not beginning:
        return "damaged: it is empty. Get it again"
    for known, what in _BEGINNINGS.items():
        if beginning.startswith(known):
            return what
    if what := _SUFFIXES.get(path.suffix.lower(), ""):
        return what
    if isinstance(error, pickle.UnpicklingError):
        named = re.search(r"GLOBAL ([\w.]+) was not an allowed global", str(error))
        name = named[1] if named else "something else"
        what = next((text for end, text in _OBJECTS.items() if name.endswith(end)), name)
        return (
            "not a checkpoint, or contains more than tensors and plain data, which is not read for "
            f"safety: {what}. If you trust it, extract the parameters: torch.save("
            'torch.load(FILE, weights_only=False)["state_dict"], OTHER_FILE)'
        )
    reason = next(iter(str(error).splitlines()), "") or type(error).__name__
    return f"damaged or not a checkpoint: {reason}"


def parameters_in(path: Path, content: Any) -> dict[str, Tensor]:
    """Find the parameters by name in a file's content, which may be a whole checkpoint.

    They are returned in float32. Prefixes that DataParallel, torch.compile or a module around the
    network have added to all names are removed. Raises ValueError that lists the content if there
    are no parameters, or if they are ambiguous.
    """
    tables = dict(_tables(content))
    if not tables:
        keys = content if isinstance(content, dict) else [f"a {type(content).__name__}"]
        raise ValueError(
            f"{path} contains no parameters by name, but {some(keys)}: save those of the network, "
            "torch.save(net.state_dict(), FILE)"
        )
    usual = [key for key in _USUAL_KEYS if key in tables]
    if len(tables) > 1 and not usual:
        raise ValueError(
            f"{path} contains several sets of parameters, {some(tables)}: save the one you mean, "
            "torch.save(torch.load(FILE)[KEY], OTHER_FILE)"
        )
    chosen = next(iter([*usual, *tables]))
    if others := [key for key in tables if key != chosen]:
        log.info("%s: using the parameters in %s; not used: %s", path, chosen, some(others))
    found = {_bare(name): value for name, value in tables[chosen].items()}
    while len({name.partition(".")[0] for name in found}) == 1 and all(
        name.count(".") > 1 for name in found
    ):
        found = {name.partition(".")[2]: value for name, value in found.items()}
    if len(found) < len(tables[chosen]):
        raise ValueError(f"{path} contains parameters twice: {some(tables[chosen])}")
    for name, value in found.items():
        if not has_values(value) or not (value.is_floating_point() or value.dim() == 0):
            raise ValueError(f"{path}: {name} must be floating point, but is {value.dtype}")
    return {name: value.float() for name, value in found.items()}


def _tables(content: Any) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Yield the dictionaries of parameters, at the top or up to two levels below, with keys."""
    if _is_table(content):
        yield "", content
        return
    for key, value in content.items() if isinstance(content, dict) else ():
        if _is_table(value):
            yield str(key), value
        elif isinstance(value, dict):
            yield from ((f"{key}.{k}", v) for k, v in value.items() if _is_table(v))


def _is_table(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and all(isinstance(key, str) for key in value)
        and all(isinstance(each, Tensor) for each in value.values())
        and any(key.endswith(".weight") for key in value)
    )


def has_values(value: Any) -> bool:
    """Whether a value is a dense tensor whose elements are all stored, none of them shared."""
    return (
        isinstance(value, Tensor)
        and value.layout == torch.strided
        and not value.is_meta
        and value.untyped_storage().nbytes() >= value.numel() * value.element_size()
    )


def _bare(name: str) -> str:
    return ".".join(part for part in name.split(".") if part not in _WRAPPERS)


def some(keys: Iterable[Any]) -> str:
    """List the first few keys, and how many more there are."""
    named = [short(key) if not isinstance(key, str) else key[:80] for key in keys]
    more = len(named) - _MOST_NAMED
    return ", ".join(named[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def short(value: Any) -> str:
    """Return Python's representation, shortened where it is long or deep."""
    return reprlib.repr(value)
