"""How often is a model called better that is not, and is a real gain found as often as was promised?

    python tests/benchmarks/false_better.py        500 experiments of each kind, a minute or two
    python tests/benchmarks/false_better.py 200    as many as you say

Simulated test sets whose items come in clusters of very different sizes, with one or several checkpoints
that are no better than the base model. Prints how often any of them is called better, beside what one would
get by taking items for independent or by a clustered z test; then the power that was promised beside the
power there is, and how often the interval holds the truth. Exits with an error when "better" is wrong more
often than 5 % and chance in the simulation explain, or when the power is not as promised.
"""

import sys
from collections.abc import Iterator, Sequence
from itertools import product
from typing import NamedTuple

import numpy as np
from mcnemar import exact_power
from numpy.random import Generator
from scipy.stats import binom, norm

from workbench.decide.power import items_needed, power_table
from workbench.evaluation.compare import JudgedDifference
from workbench.evaluation.statistics import (
    Difference,
    cluster_sums,
    difference,
    holm,
    mcnemar,
    mean_of,
    resample,
)

EXPERIMENTS = 500
MINIMUM = 0.02
FLIPS = 0.3  # of the items, in either direction
CHANCE = 0.001  # that the simulation alone exceeds a limit that holds


class World(NamedTuple):
    """What is simulated: the clusters and how their sizes spread, the checkpoints, and what is true."""

    clusters: int
    sizes: str
    checkpoints: int = 1
    gain: float = 0.0
    """The true difference of each checkpoint, a share."""
    spread: float = 0.12
    """The standard deviation of the true differences from cluster to cluster."""


def drawn(world: World, random: Generator) -> tuple[Difference, ...]:
    """One experiment: each checkpoint against the same base model on the same items."""
    sizes = _sizes(world, random)
    labels = np.repeat(np.arange(world.clusters), sizes)
    base = random.random(len(labels)) < 0.5
    found = []
    for _ in range(world.checkpoints):
        effects = np.clip(random.normal(0, world.spread, world.clusters), -FLIPS, FLIPS) + world.gain
        # Items that were wrong flip more often where the checkpoint is better, those that were right less.
        chances = FLIPS + np.where(base, -1, 1) * effects[labels]
        tuned = base ^ (random.random(len(labels)) < chances)
        found.append(difference(base.astype(float).tolist(), tuned.astype(float).tolist(), labels.tolist()))
    return tuple(found)


def called_better(found: Sequence[Difference]) -> bool:
    """Whether any checkpoint is called better, corrected for all of them."""
    corrected = holm([each.p_value for each in found])
    verdicts = (
        JudgedDifference(each, p, MINIMUM, len(found)) for each, p in zip(found, corrected, strict=True)
    )
    return any(verdict.outcome == "better" for verdict in verdicts)


def called_better_by_items(found: Sequence[Difference]) -> bool:
    """The usual mistake: every item on its own, every checkpoint on its own."""
    return any(mcnemar(each.broken, each.fixed) <= 0.05 and each.value >= MINIMUM for each in found)


def called_better_by_z(found: Sequence[Difference]) -> bool:
    """Clustered standard errors with a normal quantile, and Holm."""
    p_values = [2 * norm.sf(abs(each.value) / each.standard_error) for each in found]
    pairs = zip(holm(p_values), found, strict=True)
    return any(p <= 0.05 and each.value >= MINIMUM for p, each in pairs)


def most(experiments: int, share: float) -> int:
    """So many events of this probability are exceeded by chance in one of a thousand simulations."""
    return int(binom.ppf(1 - CHANCE, experiments, share))


def false_better(experiments: int) -> Iterator[str]:
    """Print each world without a gain; give what exceeds the limit."""
    limit = most(experiments, 0.05)
    print(f"Called better without being better, in % (limit {100 * limit / experiments:.1f}):")
    print(f"{'clusters':>8} {'sizes':>10} {'checkpoints':>11} {'ours':>7} {'by item':>8} {'clustered z':>12}")
    for clusters, sizes, checkpoints in product((10, 25, 50), ("equal", "lognormal", "giant"), (1, 5)):
        random = np.random.default_rng([clusters, checkpoints, len(sizes)])
        world = World(clusters, sizes, checkpoints)
        counts = np.zeros(3)
        for _ in range(experiments):
            found = drawn(world, random)
            counts += [called_better(found), called_better_by_items(found), called_better_by_z(found)]
        ours, by_item, by_z = 100 * counts / experiments
        line = f"{clusters:8} {sizes:>10} {checkpoints:11} {ours:7.1f} {by_item:8.1f} {by_z:12.1f}"
        print(line, flush=True)
        if counts[0] > limit:
            yield f"{world} is called better in {ours:.1f} %"


def second_look(experiments: int) -> Iterator[str]:
    """Follow the advice: where it is inconclusive, add the items that were asked for and look again."""
    random = np.random.default_rng(7)
    wrong = 0
    for _ in range(experiments):
        flips = random.choice([-1, 0, 1], size=20_000, p=[0.1, 0.8, 0.1])
        first = _verdict(flips[:100], comparisons=1)
        if first.outcome == "inconclusive":
            first = _verdict(flips[: 100 + first.more_items], comparisons=2)
        wrong += first.outcome == "better"
    share = f"{100 * wrong / experiments:.1f}"
    print(f"\nThe same with a second look, at the items that were asked for: {share} %")
    if wrong > most(experiments, 0.05):
        yield "a second look is called better too often"


def power(experiments: int) -> Iterator[str]:
    """Print the power that was promised, and the share of experiments that found the gain."""
    print("\nPower, in %: promised by Connor's formula, by the exact test, and found")
    random = np.random.default_rng(11)
    for gain, flips in ((0.05, 0.1), (0.1, 0.2), (0.15, 0.3)):
        items = items_needed(gain, flips)
        broken, fixed = (flips - gain) / 2, (flips + gain) / 2
        tables = random.multinomial(items, [broken, fixed, 1 - flips], size=experiments)
        found = sum(mcnemar(int(b), int(c)) <= 0.05 for b, c, _ in tables)
        promised = exact_power(items, broken, fixed)
        share = f"{100 * found / experiments:.1f}"
        print(f"{items:6} items, {100 * gain:.0f} points: 80, {100 * promised:.1f}, {share}")
        low, high = binom.interval(1 - CHANCE, experiments, promised)
        if not low <= found <= high:
            yield f"{items} items find {gain} in {share} %, not in {100 * promised:.1f} %"
    # Differences of items in one cluster of 10 correlate as spread^2 to all variance.
    gain, spread = 0.08, 0.12
    correlation = spread**2 / (FLIPS - gain**2)
    asked = power_table(100, differences=(gain,), discordant=FLIPS, cluster_size=10, correlation=correlation)
    needed = asked.needed[0][1]
    world = World(-(-needed // 10), "equal", gain=gain, spread=spread)
    found = sum(drawn(world, random)[0].p_value <= 0.05 for _ in range(experiments))
    share = f"{100 * found / experiments:.1f}"
    print(f"{needed:6} items in {world.clusters} clusters, {100 * gain:.0f} points: 80, -, {share}")
    # The formulas take the difference for normal and the design effect for known: 5 points for that.
    if not binom.ppf(CHANCE / 2, experiments, 0.75) <= found <= binom.isf(CHANCE / 2, experiments, 0.85):
        yield f"{needed} clustered items find {gain} in {share} %"


def coverage(experiments: int) -> None:
    """Print how often a 95 % interval holds the truth: ours, and the BCa bootstrap of whole clusters."""
    print("\nThe 95 % interval holds the truth, in %:")
    print(f"{'clusters':>8} {'sizes':>10} {'ours':>7} {'BCa':>7}")
    for clusters, sizes in product((25, 50), ("equal", "lognormal", "giant")):
        random = np.random.default_rng([clusters, len(sizes)])
        counts = np.zeros(2)
        for _ in range(experiments):
            (found,) = drawn(World(clusters, sizes, gain=0.05), random)
            changes = np.subtract(found.tuned, found.base)
            rows = np.stack(cluster_sums(changes.tolist(), found.labels), axis=1)
            bca = resample(rows, mean_of, resamples=2_000).interval()
            counts += [low <= 0.05 <= high for low, high in (found.interval(), bca)]
        ours, boot = 100 * counts / experiments
        print(f"{clusters:8} {sizes:>10} {ours:7.1f} {boot:7.1f}", flush=True)


def _sizes(world: World, random: Generator) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    if world.sizes == "lognormal":
        return np.maximum(1, np.round(5 * np.exp(1.2 * random.standard_normal(world.clusters)))).astype(int)
    if world.sizes == "giant":  # half of all items are in the first
        return np.array([5 * (world.clusters - 1)] + [5] * (world.clusters - 1))
    return np.full(world.clusters, 10)


def _verdict(flips: "np.ndarray[tuple[int], np.dtype[np.int64]]", comparisons: int) -> JudgedDifference:
    found = difference((flips < 0).astype(float).tolist(), (flips > 0).astype(float).tolist())
    return JudgedDifference(found, min(1.0, comparisons * found.p_value), MINIMUM, comparisons)


def main() -> None:
    """Simulate everything; exit with what went wrong."""
    experiments = int(sys.argv[1]) if len(sys.argv) > 1 else EXPERIMENTS
    wrong = [*false_better(experiments), *second_look(experiments), *power(experiments)]
    coverage(min(experiments, 500))
    if wrong:
        sys.exit("\n".join(wrong))


if __name__ == "__main__":
    main()
