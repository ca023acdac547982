"""Evaluations made of scores, without a model: what tests of comparisons compare."""

import math
from dataclasses import replace

from workbench.evaluation.evaluation import Evaluation, Item
from workbench.evaluation.graders.ready_made import grader
from workbench.evaluation.prompts import AS_TRAINED
from workbench.evaluation.requests import Answer


def evaluation(scores: "str | list[float]", model: str = "base", **changes: object) -> Evaluation:
    """One item for each score; in a text 1 is right, 0 is wrong and x could not be graded."""
    items = tuple(
        Item(
            f"id{n}",
            f"faq.csv:{n + 2}",
            f"Q{n} <?>",
            f"A{n}",
            (
                Answer(
                    f"{model} {n}",
                    "stop",
                    0.5,
                    30,
                    5,
                    problem="the judge refused" if score == "x" else "",
                    score=math.nan if score == "x" else float(score),
                ),
            ),
        )
        for n, score in enumerate(scores)
    )
    plain = Evaluation(model, AS_TRAINED, grader("exact"), items, max_tokens=64, temperature=0.0)
    return replace(plain, **changes)


def in_clusters(of: Evaluation, clusters: list[str]) -> Evaluation:
    items = zip(of.items, clusters, strict=True)
    return replace(of, items=tuple(replace(item, cluster=cluster) for item, cluster in items))
