"""Reading a result file of ten million rows, and smoothing what is in it.

    python tests/benchmarks/curves.py            10,000,000 rows, about a minute
    python tests/benchmarks/curves.py 100000     as many as you say

The file has the seven columns that Azure documents; validation stands in every tenth row. It is read in
order, shuffled, in base64 and with a wrong last line, each in a process of its own. Prints CPU seconds and
the process's peak memory, imports included. Exits with an error above 10 s or 1.5 GB.
"""

import base64
import multiprocessing
import random
import resource
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from workbench.errors import DataError
from workbench.training.curve import exponential
from workbench.training.curve_files import read_curve

ROWS = 10_000_000
MOST_SECONDS = 10.0
MOST_BYTES = 1.5e9
HEADER = (
    "step,train_loss,train_mean_token_accuracy,valid_loss,validation_mean_token_accuracy,"
    "full_valid_loss,full_valid_mean_token_accuracy\n"
)
BLOCK = 10_000  # rows that are made once and written again and again


class Measured(NamedTuple):
    """How one reading did."""

    seconds: float
    bytes: float
    said: str

    @property
    def fits(self) -> bool:
        """Whether it kept within the limits."""
        return self.seconds < MOST_SECONDS and self.bytes < MOST_BYTES


def in_order(folder: Path, rows: int) -> Path:
    """Rising steps."""
    return _written(folder / "results.csv", rows, range(rows))


def shuffled(folder: Path, rows: int) -> Path:
    """Steps in no order, each twentieth twice."""
    steps = [step - (step % 20 == 1) for step in range(rows)]
    random.Random(0).shuffle(steps)
    return _written(folder / "results.csv", rows, steps)


def in_base64(folder: Path, rows: int) -> Path:
    """As OpenAI's platform gives it."""
    path = folder / "wrapped.csv"
    with in_order(folder, rows).open("rb") as plain, path.open("wb") as wrapped:
        base64.encode(plain, wrapped)
    return path


def with_a_wrong_end(folder: Path, rows: int) -> Path:
    """A text where a number belongs, in the last line."""
    path = in_order(folder, rows)
    with path.open("a", encoding="utf-8") as file:
        file.write(f"{rows},oops,,,,,\n")
    return path


def measure(path: Path) -> Measured:
    """Read the file once."""
    started = time.process_time()
    try:
        said = f"{len(read_curve(path).frame):,} steps"
    except DataError as error:
        said = str(error)
    seconds = time.process_time() - started
    return Measured(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, said)


def smoothing(path: Path) -> float:
    """Millions of values that are smoothed in a CPU second."""
    values = read_curve(path).frame["train_loss"].to_numpy()[:1_000_000]
    exponential([1.0], 0.5)  # loads scipy
    started = time.process_time()
    exponential(values, 0.9)
    return len(values) / 1e6 / (time.process_time() - started)


def _written(path: Path, rows: int, steps: "range | list[int]") -> Path:
    draw = random.Random(0).random
    cells = [
        f",{draw()!r},{draw()!r}," + (f"{draw()!r},0.7,{draw()!r},0.7\n" if row % 10 == 0 else ",,,\n")
        for row in range(BLOCK)
    ]
    with path.open("w", encoding="utf-8") as file:
        file.write(HEADER)
        for start in range(0, rows, BLOCK):
            some = steps[start : start + BLOCK]
            file.write("".join(f"{step}{row}" for step, row in zip(some, cells, strict=False)))
    return path


def main() -> None:
    """Measure each kind of file."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else ROWS
    fits = True
    alone = multiprocessing.get_context("spawn")
    for make in (in_order, shuffled, in_base64, with_a_wrong_end):
        with TemporaryDirectory() as folder, ProcessPoolExecutor(1, alone) as process:
            path = make(Path(folder), rows)
            done = process.submit(measure, path).result()
            if make is in_order:
                speed = process.submit(smoothing, path).result()
        fits = fits and done.fits
        print(
            f"{make.__name__:17} {done.seconds:5.1f} CPU s  {done.bytes / 1e6:5.0f} MB  {done.said}",
            flush=True,
        )
    print(f"{'smoothing':17} {speed:5.1f} million values per CPU second")
    if not fits:
        sys.exit(f"Above {MOST_SECONDS:.0f} s or {MOST_BYTES / 1e9:g} GB.")


if __name__ == "__main__":
    main()
