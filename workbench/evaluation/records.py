"""What evaluations leave in a project: every answer in a file, and the scores in the record.

A later notebook, a report and a gate in CI read the record; none of them asks
a model again.
"""

from typing import TYPE_CHECKING

from workbench.project import JSON, Entry, Project

if TYPE_CHECKING:
    from workbench.evaluation.baseline import Ladder
    from workbench.evaluation.compare import Comparison


def record_baseline(project: Project, rungs: "Ladder", *, test_sha256: str) -> Entry:
    """Keep the ladder, so that the tuned model meets the base model with its best prompt."""
    kept: list[JSON] = []
    best = ""
    for number, rung in enumerate(rungs.rungs, start=1):
        name = f"evaluations/baseline-{number}.jsonl"
        project.save(name, rung.evaluation.to_jsonl())
        kept.append({**rung.facts, "evaluation": name})
        if rung.evaluation is rungs.best:
            best = name
    return project.record(
        "baseline",
        model=rungs.best.model,
        grader=str(rungs.best.grader["name"]),
        test_sha256=test_sha256,
        rungs=kept,
        best_prompt=rungs.best.prompt.name,
        best_score=rungs.best.score,
        best_evaluation=best,
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
