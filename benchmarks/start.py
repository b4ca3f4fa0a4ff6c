"""How soon the command answers: --help, a key that does not exist, and the plan of 1,000 runs.

    python benchmarks/start.py [repeats]

Prints processor seconds, each measured in a new process. `import hydra` is timed for comparison:
all answers except --help need it. The plan ends when the sweep reports how many runs are left,
before the first of them starts.
"""

import subprocess
import sys
import tempfile
from collections.abc import Callable

from timing import alternate, ratio, seconds_of_children, spread

from alexnet.paths import PROJECT

RUNS = 1000
TRAIN = (sys.executable, str(PROJECT / "src/train.py"))


def main() -> None:
    """Print a line for each answer."""
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    found = alternate(
        {
            "import hydra": _seconds_of(sys.executable, "-c", "import hydra"),
            "--help": _seconds_of(*TRAIN, "--help"),
            "a wrong key": _seconds_of(*TRAIN, "learning.learning_rate=0.1"),
            f"planning {RUNS} runs": _seconds_to_plan,
        },
        repeats=repeats,
    )
    limit = found["import hydra"]
    print(f"seconds of the processor, n = {repeats}")
    for name, seconds in found.items():
        print(f"  {name:<20}{spread(seconds, 2):>22}, {ratio(seconds, limit)} times import hydra")


def _seconds_of(*command: str) -> Callable[[], float]:
    def seconds() -> float:
        before = seconds_of_children()
        subprocess.run(command, capture_output=True, check=False)
        return seconds_of_children() - before

    return seconds


def _seconds_to_plan() -> float:
    before = seconds_of_children()
    with tempfile.TemporaryDirectory() as outputs:
        command = (*TRAIN, f"seed=range(0,{RUNS})", "data=synthetic", f"outputs={outputs}")
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            assert process.stdout
            lines = []
            for line in process.stdout:
                lines.append(line)
                if f"{RUNS} of {RUNS} runs to go" in line:
                    break
            else:
                raise RuntimeError("".join(lines))
            process.terminate()
            process.stdout.read()
    return seconds_of_children() - before


if __name__ == "__main__":
    main()
