import os
from pathlib import Path
from typing import NamedTuple


class ProcessState(NamedTuple):
    """A letter (R, S, Z, ...), and when the process started, which no other of its number did.

    `ticks` count from the start of the machine, whatever the clock says; `began` is the same in
    seconds since 1970.
    """

    letter: str
    ticks: int
    began: float


def process_state(pid: int) -> ProcessState | None:
    """From /proc; None on a system without it. Raises OSError if there is no such process.

    The second field is the command's name in parentheses, and may itself hold spaces and
    parentheses; so fields are counted from the last one.
    """
    if not Path("/proc/self/stat").exists():
        return None
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    lines = Path("/proc/stat").read_text().splitlines()
    boot = next(int(line.split()[1]) for line in lines if line.startswith("btime "))
    ticks = int(fields[19])
    return ProcessState(fields[0], ticks, boot + ticks / os.sysconf("SC_CLK_TCK"))
