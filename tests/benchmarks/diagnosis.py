"""Diagnoses of made-up runs whose truth is known: how many verdicts are right, and what the others are.

    python tests/benchmarks/diagnosis.py         200 runs of each kind, half a minute
    python tests/benchmarks/diagnosis.py 1000    as many as you say

Each run draws its length, its noise (of a batch of one row up to one of hundreds), how often it was
validated, and whether on the whole set or on single batches. Exits with an error where more than 5 % of a
kind are judged wrongly; a verdict that says "cannot tell" is no wrong one.
"""

import sys
from collections import Counter
from collections.abc import Callable

import numpy as np
import pandas as pd
from numpy.random import Generator
from numpy.typing import NDArray

from workbench.training.curve import Curve
from workbench.training.diagnosis import diagnose

RUNS = 200
MOST_WRONG = 0.05
UNDECIDED = {"cannot_tell", "insufficient_data", "no_validation_cannot_judge"}
Shape = Callable[[Generator, NDArray[np.float64]], tuple[NDArray[np.float64], NDArray[np.float64]]]


def learning(draw: Generator, at: NDArray[np.float64], pace: tuple[float, float] = (0.05, 0.15)):
    """Both losses fall and flatten, validation a little above training."""
    low, high = draw.uniform(0.2, 1.0), draw.uniform(1.5, 3.0)
    train = low + (high - low) * np.exp(-at / draw.uniform(*pace))
    return train, train * draw.uniform(1.0, 1.2)


def improving(draw: Generator, at: NDArray[np.float64]):
    """As above, and the end comes too early."""
    return learning(draw, at, (0.5, 1.0))


def overfitting(draw: Generator, at: NDArray[np.float64]):
    """Validation rises by 15 to 100 % from somewhere in the middle on, while training falls."""
    train, valid = learning(draw, at)
    since = draw.uniform(0.2, 0.6)
    later = np.clip((at - since) / (1 - since), 0, 1)
    return train * (1 - 0.6 * later), valid * (1 + draw.uniform(0.15, 1.0) * later)


def flat(draw: Generator, at: NDArray[np.float64]):
    """Nothing is learnt: a validation loss that falls by a thousandth."""
    level = draw.uniform(1.0, 3.0)
    return np.full_like(at, level), level * draw.uniform(0.95, 1.1) * (1 - draw.uniform(0, 1e-3) * at)


def explosion(draw: Generator, at: NDArray[np.float64]):
    """The loss explodes at one of the first five steps and settles far above where it began."""
    level = draw.uniform(1.5, 3.0)
    since = int(draw.integers(1, 6))
    after = np.arange(len(at)) - since
    settled = level * draw.uniform(2, 4)
    losses = np.where(
        after < 0, level, settled + settled * draw.uniform(0, 100) * np.exp(-np.maximum(after, 0) / 2)
    )
    return losses, np.full_like(at, settled)


def late_divergence(draw: Generator, at: NDArray[np.float64]):
    """It learns, and from the middle on the loss rises to two to five times its lowest."""
    train, valid = learning(draw, at)
    rise = 1 + draw.uniform(1.2, 4) * np.clip((at - draw.uniform(0.4, 0.7)) / 0.1, 0, 1)
    return train * rise, valid * rise


def leaked(draw: Generator, at: NDArray[np.float64]):
    """Six epochs of learning by heart, and the validation rows are among those learnt."""
    train = draw.uniform(1.5, 3.0) * draw.uniform(0.6, 0.75) ** np.floor(6 * at)
    return train, 0.9 * train


def zero(draw: Generator, at: NDArray[np.float64]):
    """The training loss is nothing after the first tenth but for single rows, and nobody validated."""
    train = draw.uniform(1.5, 3.0) * np.exp(-at / 0.02)
    return np.where(
        at > 0.1, np.where(draw.random(len(at)) < 0.2, draw.uniform(0, 0.1, len(at)), 0), train
    ), at


def unvalidated(draw: Generator, at: NDArray[np.float64]):
    """A training loss alone."""
    return learning(draw, at)


def summed(draw: Generator, at: NDArray[np.float64]):
    """The logged training loss is the sum over 4 to 16 accumulation steps."""
    train, valid = learning(draw, at)
    return train * draw.choice([4, 8, 16]), valid


def no_direction(draw: Generator, at: NDArray[np.float64]):
    """Three validations of which the middle one is the highest."""
    train, _ = learning(draw, at)
    return train, 1 + 0.06 * np.exp(-(((at - 0.67) / 0.1) ** 2)) * draw.uniform(0.7, 1.5)


RIGHT: dict[Shape, set[str]] = {
    learning: {"healthy", "still_improving"},
    improving: {"healthy", "still_improving"},
    overfitting: {"overfitting_mild", "overfitting_severe"},
    flat: {"underfitting"},
    explosion: {"diverged"},
    late_divergence: {"diverged"},
    leaked: {"leakage_suspected"},
    zero: {"memorised"},
    unvalidated: {"no_validation_cannot_judge"},
    summed: {"healthy", "still_improving"},
    no_direction: {"insufficient_data"},
}


def made(shape: Shape, draw: Generator) -> tuple[Curve, float | None]:
    """One run, and its epochs where they are known."""
    steps = int(draw.choice([60, 200, 1000]))
    at = np.arange(1, steps + 1) / steps
    train, valid = shape(draw, at)
    frame = pd.DataFrame({"train_loss": train * _noise(draw, draw.choice([0.02, 0.1, 0.3, 0.6]), steps)})
    if shape is not zero and shape is not unvalidated:
        batches = shape not in (no_direction, leaked) and draw.random() < 0.3
        count = 3 if shape is no_direction else int(draw.choice([6, 12, 30]))
        every = max(1, steps // (2 * count if batches else count))
        noise = _noise(draw, 0.25 if batches else draw.choice([0, 0.003, 0.01]), steps)
        measured = np.arange(1, steps + 1) % every == 0
        frame["valid_loss" if batches else "full_valid_loss"] = np.where(measured, valid * noise, np.nan)
    frame.index = pd.RangeIndex(1, steps + 1, name="step")
    return Curve(frame), 6.0 if shape is leaked else None


def _noise(draw: Generator, spread: float, count: int) -> NDArray[np.float64]:
    """Factors around 1, whose mean is 1."""
    return draw.lognormal(-(spread**2) / 2, spread, count)


def main(runs: int) -> int:
    """Print a line for each kind of run; 1 where one of them is judged wrongly too often."""
    failed = 0
    for shape, right in RIGHT.items():
        draw = np.random.default_rng(7)
        found: Counter[str] = Counter()
        for _ in range(runs):
            curve, epochs = made(shape, draw)
            found[diagnose(curve, n_epochs=epochs).verdict] += 1
        wrong = sum(times for verdict, times in found.items() if verdict not in right | UNDECIDED)
        failed += wrong > MOST_WRONG * runs
        shown = ", ".join(f"{verdict} {times / runs:.0%}" for verdict, times in found.most_common())
        print(f"{shape.__name__:<16} {wrong / runs:>4.0%} wrong: {shown}")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else RUNS))
