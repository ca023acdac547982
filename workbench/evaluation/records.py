"""What evaluations leave in a project: every answer in a file, and the scores in the record.

A later notebook, a report and a gate in CI read the record; none of them asks
a model again.
"""

from typing import TYPE_CHECKING

from workbench.evaluation.evidence import evidence
from workbench.evaluation.failing.labels import Labels
from workbench.project import JSON, Entry, Project

if TYPE_CHECKING:
    from workbench.evaluation.baseline import Ladder
    from workbench.evaluation.comparing.compare import Comparison
    from workbench.evaluation.failing.failures import Failures


def open_labels(project: Project) -> Labels:
    """Open what was said about this project's failures."""
    return Labels(project.path / "failures" / "labels.jsonl")


def record_baseline(
    project: Project,
    rungs: "Ladder",
    *,
    test_sha256: str,
    failures: "Failures | None" = None,
    context_tokens: int | None = None,
) -> Entry:
    """Keep the ladder, so that the tuned model meets the base model with its best prompt.

    With it stand the failures of the best prompt, and what all of this tells 02_decide. What stands
    beside the ladder (the right passage, a larger model) is kept among the rungs as what it is.
    """
    kept: list[JSON] = []
    best = ""
    for number, rung in enumerate(rungs.all, start=1):
        name = f"evaluations/baseline-{number}.jsonl"
        project.save(name, rung.evaluation.to_jsonl())
        role = {id(rungs.gold): "gold", id(rungs.teacher): "teacher"}.get(id(rung), "rung")
        kept.append({**rung.facts, "role": role, "evaluation": name})
        if rung.evaluation is rungs.best:
            best = name
    listed: dict[str, JSON] = {}
    if failures is not None:
        project.save("failures/failures.jsonl", failures.to_jsonl())
        listed = {"failures": {**failures.facts, "list": "failures/failures.jsonl"}}
    return project.record(
        "baseline",
        model=rungs.best.model,
        grader=str(rungs.best.grader["name"]),
        test_sha256=test_sha256,
        rungs=kept,
        best_prompt=rungs.best.prompt.name,
        best_score=rungs.best.score,
        best_evaluation=best,
        evidence=evidence(rungs, failures, context_tokens=context_tokens),
        **listed,
    )


def record_comparison(
    project: Project, comparison: "Comparison", *, job_id: str, training_seconds: float
) -> Entry:
    """Keep both evaluations and the verdict, with the job that made the difference."""
    base, tuned = comparison.base, comparison.tuned
    project.save("evaluations/base.jsonl", base.to_jsonl())
    project.save("evaluations/tuned.jsonl", tuned.to_jsonl())
    return project.record(
        "comparison",
        base_model=base.model,
        base_prompt=base.prompt.name,
        base_score=base.score,
        base_low=base.interval.low,
        base_high=base.interval.high,
        base_evaluation="evaluations/base.jsonl",
        tuned_model=tuned.model,
        tuned_prompt=tuned.prompt.name,
        tuned_score=tuned.score,
        tuned_low=tuned.interval.low,
        tuned_high=tuned.interval.high,
        tuned_evaluation="evaluations/tuned.jsonl",
        items=comparison.items,
        fixed=comparison.fixed,
        broken=comparison.broken,
        difference=comparison.difference,
        low=comparison.interval.low,
        high=comparison.interval.high,
        p_value=comparison.p_value,
        outcome=comparison.outcome,
        verdict=comparison.verdict,
        grader=str(base.grader["name"]),
        job_id=job_id,
        training_seconds=training_seconds,
    )
