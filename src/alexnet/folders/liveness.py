import os
from pathlib import Path


def process_state(pid: int) -> tuple[str, float]:
    """A letter (R, S, Z, ...) and the time of its start, from /proc.

    The second field is the command's name in parentheses, and may itself hold spaces and
    parentheses; so fields are counted from the last one.
    """
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    lines = Path("/proc/stat").read_text().splitlines()
    boot = next(int(line.split()[1]) for line in lines if line.startswith("btime "))
    return fields[0], boot + int(fields[19]) / os.sysconf("SC_CLK_TCK")
