"""The provenance of a run: commit, versions, hardware and command."""

import logging
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from alexnet import __version__
from alexnet.paths import PROJECT

log = logging.getLogger("alexnet.train")

PACKAGES = ("torch", "torchvision", "lightning", "torchmetrics", "hydra-core", "numpy", "mlxtend")


def provenance(
    *, threads: int, command: str, before: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return commit, versions, hardware, threads and command of this process, as plain data.

    `before` is what a resumed run recorded earlier. `lrn_kernels` lists the implementations that
    computed local response normalization on the CPU, in their order; a change causes a warning.

    `commit` is that of the checkout, None without one; `dirty` says whether tracked files differ
    from it, None if git gives no answer. An installed program has no commit, but a `version`.
    """
    import torch

    from alexnet.model import LRN_KERNEL

    # Until 0.2 there was only one, which was not recorded.
    kernels = list(before.get("lrn_kernels", ["torch"])) if before else [LRN_KERNEL]
    if kernels[-1] != LRN_KERNEL:
        log.warning(
            "this run began with local response normalization computed by %s and continues with "
            "%s: on a CPU its results differ in the last digits from those of a run with only one "
            "of them. fresh=true starts again",
            kernels[-1], LRN_KERNEL,
        )  # fmt: skip
        kernels.append(LRN_KERNEL)
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    commit, is_dirty = code_in_use()
    return {
        "version": __version__,
        "commit": commit,
        "dirty": is_dirty,
        "versions": {"python": platform.python_version()}
        | {each: version(each) for each in PACKAGES}
        | ({"numba": version("numba")} if LRN_KERNEL == "numba" else {}),
        "hardware": {
            "cpu": cpu_name(),
            "cores": os.cpu_count(),
            "gpus": gpus,
            "host": platform.node(),
        },
        "threads": threads,
        "lrn_kernels": kernels,
        "command": command,
    }


@cache
def code_in_use() -> tuple[str | None, bool | None]:
    """Return the commit of this program, and whether tracked files differ: see `provenance`.

    The answer is cached: a forked run has the code that was imported, even if files have changed
    since.
    """
    return _commit(PROJECT) if PROJECT else (None, False)


def command_line() -> str:
    """Return the command of this process, as it would be typed.

    It is taken from the interpreter's arguments, because sys.argv is rearranged for Hydra.
    """
    _, *words = sys.orig_argv
    if words and Path(words[0]).name == "alexnet-lab":
        return shlex.join(["alexnet-lab", *words[1:]])
    return shlex.join(["python", *words])


def _commit(checkout: Path) -> tuple[str | None, bool | None]:
    """Return the commit of a checkout, and whether tracked files differ from it.

    (None, None) without git, without a repository, or if git refuses; a warning is logged then,
    because the run cannot be traced to its code.
    """
    # Inside git hooks, these name the repository that the hook belongs to.
    elsewhere = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR")
    environment = {key: value for key, value in os.environ.items() if key not in elsewhere}
    # A source archive that was unpacked inside another repository does not belong to that one.
    environment["GIT_CEILING_DIRECTORIES"] = str(checkout.parent)
    # Git refuses a repository of another user, because its settings may name programs to run. We
    # are running this checkout's code already.
    git = ["git", "-c", f"safe.directory={checkout}", "-C", str(checkout)]

    def ask(*arguments: str) -> str:
        return subprocess.run(
            [*git, *arguments], env=environment, capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        commit = ask("rev-parse", "HEAD")
        return commit, bool(ask("status", "--porcelain", "--untracked-files=no"))
    except OSError as error:
        log.warning("the commit of %s is not recorded: %s", checkout, error)
    except subprocess.CalledProcessError as error:
        reason = error.stderr.strip().partition("\n")[0]
        log.warning("the commit of %s is not recorded: %s", checkout, reason)
    return None, None


def cpu_name() -> str:
    """Return the name of this machine's CPU."""
    try:
        with open("/proc/cpuinfo") as file:
            return next(line.split(":")[1].strip() for line in file if "model name" in line)
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
