"""How long names take: the import of the package, `zoo list` and a misspelt name.

    python tests/benchmarks/bench_cli.py

Each line is a whole process: the median of `RUNS`, after one that is not counted. Targets: the
package adds less than 50 ms to a bare interpreter, a command takes less than 0.5 s.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RUNS = 15

MISSPELT = """
import zoo
try:
    zoo.create("cnf-robust", pretrained=True)
except zoo.UnknownNameError:
    pass
"""

COMMANDS = {
    "bare interpreter": ["-c", "pass"],
    "import zoo": ["-c", "import zoo"],
    "zoo.create of a misspelt name": ["-c", MISSPELT],
    "zoo list": ["-m", "zoo", "list"],
    "zoo list --json": ["-m", "zoo", "list", "--json"],
    "zoo info cnnf-robust": ["-m", "zoo", "info", "cnnf-robust"],
    "zoo fetch of a misspelt name": ["-m", "zoo", "fetch", "cnf-robust"],
    "import torch, for comparison": ["-c", "import torch"],
}


def seconds(arguments: list[str]) -> float:
    """Median wall-clock time of a Python process with these arguments."""
    times = []
    for _ in range(RUNS + 1):
        start = time.perf_counter()
        subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, check=False)
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


def main() -> None:
    """Print a line for each command: its time, and how much more than a bare interpreter's."""
    bare = seconds(COMMANDS["bare interpreter"])
    print(f"{'whole process':<32} {'ms':>6} {'more than bare':>15}")
    for name, arguments in COMMANDS.items():
        took = seconds(arguments)
        print(f"{name:<32} {1000 * took:6.0f} {1000 * (took - bare):12.0f} ms")


if __name__ == "__main__":
    main()
