"""Comparing two runs of 10,000 items with 10,000 resamples, in clusters.

    python tests/benchmarks/compare.py           10,000 items
    python tests/benchmarks/compare.py 100000    as many as you say

Right or wrong and scores, without clusters and in 1,000 of very different sizes; then the bootstrap alone
beside scipy's, on the same sums over clusters. Prints CPU seconds and the process's peak memory, imports
included. Exits with an error when a comparison takes 2 seconds or more.
"""

import resource
import sys
import time
from dataclasses import replace

import numpy as np
from scipy.stats import bootstrap

from workbench.evaluation.compare import compare
from workbench.evaluation.evaluation import Evaluation, Item
from workbench.evaluation.graders.ready_made import grader
from workbench.evaluation.prompts import AS_TRAINED
from workbench.evaluation.requests import Answer
from workbench.evaluation.statistics import RESAMPLES, cluster_sums, mean_of, resample

ITEMS = 10_000
MOST_SECONDS = 2.0


def evaluation(model: str, scores: "list[float]", clusters: "list[str]") -> Evaluation:
    """A model's scores as if they had been asked for."""
    items = tuple(
        Item(
            f"id{n}",
            f"test.csv:{n + 2}",
            f"question {n}",
            "",
            (Answer("", "stop", 0.2, 30, 5, score=score),),
            cluster=cluster,
        )
        for n, (score, cluster) in enumerate(zip(scores, clusters, strict=True))
    )
    return Evaluation(model, AS_TRAINED, grader("exact"), items, max_tokens=64, temperature=0.0)


def timed(base: Evaluation, tuned: Evaluation) -> tuple[float, str]:
    """Compare, say the verdict and draw the summary, as a notebook's cell does."""
    started = time.process_time()
    comparison = compare(base, tuned)
    comparison._repr_html_()
    return time.process_time() - started, comparison.verdict


def main() -> None:
    """Print a line for each kind of data."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else ITEMS
    random = np.random.default_rng(0)
    alone = [""] * count
    uneven = [f"document {n}" for n in (1_000 * random.random(count) ** 2).astype(int)]
    first, second = random.random(count), random.random(count)
    kinds = {
        "right or wrong": ((first < 0.5).astype(float), (second < 0.51).astype(float)),
        "scores": (first, np.clip(0.8 * first + 0.22 * second, 0, 1)),
    }
    small = evaluation("small", [0.0, 1.0] * 60, [""] * 120)
    timed(small, replace(small, model="tuned"))  # loads scipy
    slow = []
    for kind, (base, tuned) in kinds.items():
        for name, clusters in (("no clusters", alone), (f"{len(set(uneven)):,} clusters", uneven)):
            seconds, verdict = timed(
                evaluation("base", base.tolist(), clusters), evaluation("tuned", tuned.tolist(), clusters)
            )
            print(f"{kind}, {name}: {seconds:.2f} s. {verdict}", flush=True)
            slow += [kind] if seconds >= MOST_SECONDS else []
    for name, clusters in (
        ("no clusters", list(map(str, range(count)))),
        (f"{len(set(uneven)):,} clusters", uneven),
    ):
        sums = cluster_sums((kinds["scores"][1] - kinds["scores"][0]).tolist(), clusters)
        started = time.process_time()
        ours = resample(np.stack(sums, axis=1), mean_of).interval()
        mine = time.process_time() - started
        started = time.process_time()
        scipys = bootstrap(
            tuple(sums),
            lambda total, size, axis: total.sum(axis=axis) / size.sum(axis=axis),
            paired=True,
            n_resamples=RESAMPLES,
            batch=100,
            rng=random,
        ).confidence_interval
        theirs = time.process_time() - started
        print(
            f"{RESAMPLES:,} resamples, {name}: {mine:.2f} s, {ours.low:.5f} to {ours.high:.5f}; "
            f"scipy {theirs:.2f} s, {scipys.low:.5f} to {scipys.high:.5f}"
        )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"Peak memory {peak:.0f} MB")
    if slow:
        sys.exit(f"{', '.join(slow)} took {MOST_SECONDS:g} s or more")


if __name__ == "__main__":
    main()
