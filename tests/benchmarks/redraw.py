"""How long one redraw of a running job's curve takes: all its panels, as the live view draws them.

    python tests/benchmarks/redraw.py          a few seconds

CPU time, the best of ``ROUNDS`` and the median: 30 ms and 60 KB a redraw with 10,000 points is the limit,
and 100 ms for the harder ones. The hardest has a missing value after each second one, so that no stretch
can be joined.
"""

import time
from collections.abc import Callable, Mapping
from functools import partial
from statistics import median

import numpy as np
import pandas as pd

from workbench.training.curve import Curve
from workbench.widgets.curve_chart import Scaling
from workbench.widgets.curve_figure import plot

ROUNDS = 7


def curve(columns: Mapping[str, np.ndarray]) -> Curve:
    """A curve with these measurements at the steps 1, 2, 3, …"""
    frame = pd.DataFrame(dict(columns))
    frame.index = pd.RangeIndex(1, len(frame) + 1, name="step")
    return Curve(frame)


def supervised(points: int) -> Curve:
    """Noisy losses and accuracies, validation at each tenth step, all of it at three ends of epochs."""
    step, noise = np.arange(1, points + 1), np.random.default_rng(0).normal(0, 0.1, points)
    falling = 2 * np.exp(-4 * step / points) + 0.5 + noise
    return curve(
        {
            "train_loss": falling,
            "train_mean_token_accuracy": np.clip(1 - falling / 4, 0, 1),
            "valid_loss": np.where(step % 10 == 0, falling + 0.2, np.nan),
            "valid_mean_token_accuracy": np.where(step % 10 == 0, 0.9 - falling / 4, np.nan),
            "full_valid_loss": np.where(step % (points // 3) == 0, falling + 0.3, np.nan),
        }
    )


def preferences(points: int) -> Curve:
    """The five dense columns of a preference job."""
    step, noise = np.arange(1, points + 1), np.random.default_rng(0).normal(0, 0.1, points)
    names = ("rewards/chosen", "rewards/rejected", "rewards/margins", "rewards/accuracies")
    return curve(
        {"train_loss": 0.7 * np.exp(-4 * step / points) + 0.01 * noise**2} | dict.fromkeys(names, noise)
    )


def holes(points: int) -> Curve:
    """A loss of which nearly every third value is missing, so that there are thousands of gaps."""
    whole = supervised(points).frame["train_loss"].to_numpy()
    return curve({"train_loss": np.where(np.arange(points) % 3 == 2, np.nan, whole)})


def redrawn(shown: Curve, scale: Scaling = "linear") -> str:
    """All that the kernel sends to a browser for one redraw."""
    drawn = plot(shown, scale=scale)
    return drawn.html + drawn.words


def told(name: str, redraw: Callable[[], str]) -> None:
    """Time a redraw and print what it took, and how large it is."""
    size, times = len(redraw()), []
    for _ in range(ROUNDS):
        started = time.process_time()
        redraw()
        times.append(1000 * (time.process_time() - started))
    print(f"{name:48}{min(times):8.0f} ms best {median(times):8.0f} ms median {size / 1024:8.0f} KiB")


def main() -> None:
    """Measure and print."""
    for points in (1_000, 10_000, 100_000, 1_000_000):
        told(f"supervised, {points:,} points", partial(redrawn, supervised(points)))
    ten_thousand = supervised(10_000)
    told("supervised, 10,000 points, logarithmic", partial(redrawn, ten_thousand, "log"))
    told("preferences, 10,000 points", partial(redrawn, preferences(10_000)))
    told("10,000 points with 3,333 gaps", partial(redrawn, holes(10_000)))
    eight = plot({f"run {number}": ten_thousand for number in range(1, 9)})
    told("8 runs laid over each other, 10,000 points each", lambda: eight.svg)
    told("the interactive figure, 10,000 points", lambda: plot(ten_thousand).figure.to_json())


if __name__ == "__main__":
    main()
