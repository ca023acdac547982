"""Verdicts in simulated worlds: "better" is wrong at most 5 times in 100, and power is as promised."""

import numpy as np
from benchmarks.false_better import World, called_better, called_better_by_items, drawn, most
from mcnemar import exact_power
from scipy.stats import binom

from workbench.evaluation.statistics import mcnemar

EXPERIMENTS = 300


def test_three_checkpoints_in_clusters_of_very_different_sizes_are_called_better_at_most_5_times_in_100():
    """At most so often as 5 % would once in a thousand such simulations; the usual way is above that."""
    random = np.random.default_rng(0)
    found = [drawn(World(12, "lognormal", checkpoints=3), random) for _ in range(EXPERIMENTS)]
    assert sum(map(called_better, found)) <= most(EXPERIMENTS, 0.05) == 28
    assert sum(map(called_better_by_items, found)) > 28


def test_a_large_gain_in_clusters_is_found():
    """A test that never calls anything better would pass the one above."""
    random = np.random.default_rng(1)
    world = World(30, "equal", gain=0.15)
    assert sum(called_better(drawn(world, random)) for _ in range(60)) >= 45


def test_the_exact_tests_power_is_as_predicted():
    """In 99.9 % of such simulations the number found lies in this binomial interval."""
    experiments, predicted = 2_000, exact_power(100, 0.05, 0.15)
    tables = np.random.default_rng(2).multinomial(100, [0.05, 0.15, 0.8], size=experiments)
    p_values = {(int(b), int(c)): mcnemar(int(b), int(c)) for b, c in {(b, c) for b, c, _ in tables.tolist()}}
    found = sum(p_values[b, c] <= 0.05 for b, c, _ in tables.tolist())
    low, high = binom.interval(0.999, experiments, predicted)
    assert low <= found <= high
