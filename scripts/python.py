"""Prints the Python to build the virtual environment with: the first on the PATH, or a much quicker one of its version.

Darkroom, Prefect's server above all, is as quick as the Python it runs on, and one that was compiled on the spot (the
default of pyenv) takes half as long again as a distribution's for the same work. ``make setup PYTHON=/path/to/python``
goes past this.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

OLDEST = (3, 11)
QUICKER = 1.2  # times as quick as the first one; below that, noise might choose
ROUNDS = 3
# What a program mostly does: calls, attributes, dictionaries, strings. And what an environment must have to be of use.
WORK = """
import ctypes, ensurepip, sqlite3, ssl, time, venv
class Thing:
    def __init__(self, value): self.value = value
    def text(self): return str(self.value)
def work():
    found = {}
    for number in range(100_000):
        found[number % 100] = Thing(number).text()
began = time.process_time()  # not the wall's: whatever else runs here is not the interpreter's fault
work()
print(time.process_time() - began)
"""


def candidates() -> list[str]:
    """This Python, then the others of its version on the PATH."""
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    found = {os.path.realpath(sys.executable): sys.executable}
    for folder in os.environ.get("PATH", "").split(os.pathsep):
        path = Path(folder) / name
        if path.is_file() and os.access(path, os.X_OK):
            found.setdefault(os.path.realpath(path), str(path))
    return list(found.values())


def seconds(python: str) -> float:
    """How long it takes for some work; endless, if it cannot do it."""
    done = subprocess.run([python, "-I", "-c", WORK], capture_output=True, text=True, check=False)
    return float(done.stdout) if done.returncode == 0 else float("inf")


def main() -> int:
    if sys.version_info < OLDEST:
        print(f"Darkroom needs Python 3.11 or newer; {sys.executable} is {sys.version}", file=sys.stderr)
        return 1
    first, *others = candidates()
    best = {python: float("inf") for python in (first, *others)}
    for _ in range(ROUNDS if others else 0):
        for python in best:
            best[python] = min(best[python], seconds(python))
    quickest = min(best, key=lambda python: best[python])
    if best[first] < QUICKER * best[quickest]:
        quickest = first
    elif quickest != first:
        gain = f"{best[first] / best[quickest]:.1f} times as quick as {first}"
        print(f"Using {quickest}, which is {gain}", file=sys.stderr)
    print(quickest)
    return 0


if __name__ == "__main__":
    sys.exit(main())
