import os
from pathlib import Path
from typing import NamedTuple


class ProcessState(NamedTuple):
    """State letter (R, S, Z, ...) and start time of a process, which identify it with its pid.

    `ticks` count from the start of the machine and do not depend on the clock; `began` is the same
    time in seconds since 1970.
    """

    letter: str
    ticks: int
    began: float


def process_state(pid: int) -> ProcessState | None:
    """Read the state of a process from /proc; None on a system without it.

    The second field is the command's name in parentheses and may itself contain spaces and
    parentheses, so fields are counted from the last parenthesis. Raises OSError if there is no such
    process.
    """
    if not Path("/proc/self/stat").exists():
        return None
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    lines = Path("/proc/stat").read_text().splitlines()
    boot = next(int(line.split()[1]) for line in lines if line.startswith("btime "))
    ticks = int(fields[19])
    return ProcessState(fields[0], ticks, boot + ticks / os.sysconf("SC_CLK_TCK"))
