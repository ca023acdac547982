"""What evaluations leave in a project: every answer in a file, and the scores in the record.

A later notebook, a report and a check in CI read the record; none of them asks a model again.
A file apart because only notebooks call it: nothing else writes into a project what was measured.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from workbench.catalog.models import base_name
from workbench.catalog.providers import provider_of
from workbench.connect import base_model
from workbench.decide.situation import Value, situation
from workbench.display import Facts
from workbench.errors import SetupError
from workbench.evaluation.evaluation import Evaluation
from workbench.evaluation.failures import Failures, Labels
from workbench.evaluation.graders.grader_types import needs
from workbench.evaluation.model_comparison import AskedModel
from workbench.evaluation.prompt_comparison import PromptComparison
from workbench.evaluation.prompts import AS_TRAINED, Prompt
from workbench.evaluation.ratings import Ratings
from workbench.project import JSON, STARTED_BY, SUPERVISED, Entry, Project

if TYPE_CHECKING:
    from openai import OpenAI
    from openai.types.fine_tuning import FineTuningJob

    from workbench.evaluation.compare import Comparison
    from workbench.evaluation.grader_trial import GraderQuality
    from workbench.evaluation.model_comparison import ModelComparison
    from workbench.evaluation.pass_rates import PassRates
    from workbench.evaluation.probes import Forgetting
    from workbench.evaluation.release_check import ReleaseCheck
    from workbench.evaluation.reward_hacking import HackingSigns
    from workbench.evaluation.slices import Slices

# The measurements of the baseline that "should we fine-tune?" is decided by.
#
# The names are those of ``workbench.decide.situation``. What was not measured is left out: unknown, not zero.


def evidence(
    prompts: PromptComparison, failures: Failures | None = None, *, context_tokens: int | None = None
) -> Mapping[str, Value]:
    """What was measured, as far as it was.

    ``context_tokens`` is how much the model reads at once; without it nobody knows whether more examples
    fit. Failures count once each of those drawn has a kind, by a label or, where a program grades, by its
    score: half-labelled ones lean to what rules see.
    """
    best = prompts.best
    known: dict[str, Value] = {
        "eval_items": len(best.items),
        "score": best.score,
        "grader": "judge" if "model" in needs(best.grader) else "programmatic",
        "prompt_iterations": len({_tried(one.evaluation.prompt.facts) for one in prompts.scores}),
    }
    if prompts.doubling is not None:
        few, many = prompts.doubling
        known["shots_gain"] = many.score - few.score
        if context_tokens is not None and many.prompt_tokens:
            # Twice the examples add twice what the last doubling added, at the longest question as well.
            longest = max(item.first.prompt_tokens for item in many.items)
            more = 2 * (many.prompt_tokens - few.prompt_tokens)
            known["more_shots_fit"] = longest + more + many.max_tokens <= context_tokens
    if prompts.gold is not None:
        known["gold_context_score"] = prompts.gold.evaluation.score
    if prompts.teacher is not None:
        known["teacher_score"] = prompts.teacher.evaluation.score
    if failures is not None and failures.kinds:
        known["failures"] = {str(kind): share for kind, share in failures.kinds.items()}
    return situation(known).facts


def _tried(facts: Mapping[str, object]) -> str:
    """A prompt without its name: the same one under two names was tried once."""
    return repr({key: value for key, value in facts.items() if key != "name"})


def open_labels(project: Project) -> Labels:
    """Open what was said about this project's failures."""
    return Labels(project.path / "failures" / "labels.jsonl")


def open_ratings(project: Project, name: str = "ratings") -> Ratings:
    """Open the ratings of a project; one project can hold several files of them."""
    return Ratings(project.log_file("ratings", name))


def record_baseline(
    project: Project,
    prompts: "PromptComparison",
    *,
    test_sha256: str,
    failures: "Failures | None" = None,
    context_tokens: int | None = None,
) -> Entry:
    """Keep the comparison of prompts, so that the tuned model meets the base model with its best prompt.

    With it stand the failures of the best prompt, and what all of this tells 02_decide. What stands
    beside them (the right passage, a larger model) is kept in the same list, ``rungs``, with its role.
    """
    kept: list[JSON] = []
    best = ""
    for number, one in enumerate(prompts.all, start=1):
        name = f"evaluations/baseline-{number}.jsonl"
        project.save(name, one.evaluation.to_jsonl())
        role = {id(prompts.gold): "gold", id(prompts.teacher): "teacher"}.get(id(one), "rung")
        kept.append({**one.facts, "role": role, "evaluation": name})
        if one.evaluation is prompts.best:
            best = name
    listed: dict[str, JSON] = {}
    if failures is not None:
        project.save("failures/failures.jsonl", failures.to_jsonl())
        listed = {"failures": {**failures.facts, "list": "failures/failures.jsonl"}}
    return project.record(
        "baseline",
        model=prompts.best.model,
        grader=str(prompts.best.grader["name"]),
        test_sha256=test_sha256,
        rungs=kept,
        best_prompt=prompts.best.prompt.name,
        best_score=_finite(prompts.best.score),
        best_evaluation=best,
        evidence=evidence(prompts, failures, context_tokens=context_tokens),
        **listed,
    )


def baseline_evaluations(project: Project) -> dict[str, Evaluation]:
    """The evaluations of 01_baseline by prompt; a larger model's under its own name."""
    kept = project.need("baseline", "01_baseline").facts["rungs"]
    scores = [score for score in kept if isinstance(score, Mapping)] if isinstance(kept, Sequence) else []
    return {
        str(score["prompt" if score.get("role", "rung") == "rung" else "model"]): Evaluation.load(
            project.path / str(score["evaluation"])
        )
        for score in scores
        if score.get("role") != "gold"  # nobody has the right passage at hand in use
    }


def comparisons_made(project: Project, tuned_model: str) -> int:
    """How many tuned models of this project were judged on its test, ``tuned_model`` among them.

    The best of many scores too high, so a comparison is corrected for all of them.
    """
    kinds = ("comparison", "preference", "reinforcement")
    judged = {str(entry.facts["tuned_model"]) for kind in kinds for entry in project.entries(kind)}
    return len(judged | {tuned_model})


@dataclass(frozen=True, repr=False)
class TrainedModel(Facts):
    """A model that a job of this project has trained, as the record and the service have it."""

    caption = "The model to go on from"
    model: str
    base: str
    """What it was trained from."""
    job_id: str
    judged: str
    """What 06_evaluate found of it."""

    @property
    def facts(self) -> dict[str, str]:
        """The model, where it comes from, and whether it is any good."""
        return {
            "model": self.model,
            "trained from": self.base,
            "by job": self.job_id,
            "06_evaluate says": self.judged,
        }


class Start(NamedTuple):
    """What a reinforcement job goes on from."""

    model: str
    shots: int
    """How many solved examples every prompt shows."""


SHOTS = 10  # for a base model, which knows the task by these alone


def reinforcement_start(
    client: "OpenAI", project: Project, model: str | None = None, shots: int | None = None
) -> Start:
    """The model to reinforce: ``model``, else the supervised one of the project, else its base model.

    Prompts show ``shots`` solved examples; unless said, 10 to a base model and none to a tuned one. Raises
    ``SetupError`` as ``trained_model`` does.
    """
    if model is None and project.latest_job(SUPERVISED) is not None:
        model = trained_model(client, project).model
    chosen = base_model(client, model or project.stated("model"))
    tuned = base_name(chosen) != chosen
    return Start(chosen, shots if shots is not None else 0 if tuned else SHOTS)


def trained_model(
    client: "OpenAI", project: Project, method: str = SUPERVISED, *, model: str | None = None
) -> TrainedModel:
    """The model of the project's newest job by this method, to go on from; or ``model``, if it is there.

    Raises ``SetupError`` where there is no such job, where it has not succeeded, and where the service knows
    the job or its model no more.
    """
    import openai

    if model is not None:
        try:
            client.models.retrieve(model)
        except openai.NotFoundError:
            raise SetupError(
                f"There is no model {model} at {provider_of(client).name}; give a tuned model or checkpoint "
                "that is there, or None for the one that this project has trained."
            ) from None
        return TrainedModel(model, base_name(model), "not of this project's record", _judged(project, model))
    job_id, notebook = str(project.need_job(method).facts["job_id"]), STARTED_BY[method]
    service = provider_of(client).name
    try:
        job = client.fine_tuning.jobs.retrieve(job_id)
    except openai.NotFoundError:
        raise SetupError(
            f"{service} knows no job {job_id}, which {notebook} started for project {project.name}: it was "
            f"deleted there, or it ran at another service. Run {notebook} again, here."
        ) from None
    if job.status != "succeeded" or job.fine_tuned_model is None:
        way_out = f"run {notebook} again" if job.finished_at or job.error else f"wait for it in {notebook}"
        raise SetupError(f"Job {job_id} is {job.status}, so there is no model to go on from; {way_out}.")
    model = job.fine_tuned_model
    try:
        client.models.retrieve(model)
    except openai.NotFoundError:
        raise SetupError(
            f"The model {model}, which {notebook} trained for project {project.name}, is not at {service} "
            f"any more. Train it again: run {notebook} with another SEED, as the same job would be found "
            "again and not repeated."
        ) from None
    return TrainedModel(model, base_name(job.model), job_id, _judged(project, model))


def model_to_judge(
    client: "OpenAI", project: Project, job: "FineTuningJob", checkpoint: int | str | None = None
) -> str:
    """The model of this job to judge: its ``checkpoint``, by step or name, else what 05_loss_curves chose.

    Without a choice on record it is the last one. Raises ``SetupError`` where the job has no such checkpoint,
    or has it no more.
    """
    last = str(job.fine_tuned_model)
    curves = [entry.facts for entry in project.entries("curve") if entry.facts.get("job_id") == job.id]
    choice = curves[-1].get("choice") if curves else None
    wanted = checkpoint or (choice.get("model") if isinstance(choice, Mapping) else None) or last
    if wanted == last:
        return last
    listed = client.fine_tuning.jobs.checkpoints.list(job.id, limit=100)
    kept = {each.step_number: each.fine_tuned_model_checkpoint for each in listed}
    if wanted in kept:
        return kept[int(str(wanted))]
    if wanted in kept.values():
        return str(wanted)
    steps = ", ".join(f"step {step} ({name})" for step, name in sorted(kept.items())) or "none"
    chose = "" if checkpoint else ", which 05_loss_curves chose"
    raise SetupError(
        f"Job {job.id} has no checkpoint {wanted}{chose}; it has {steps}. Give one of these, or {last}, its "
        "last, as CHECKPOINT."
    )


def _judged(project: Project, model: str) -> str:
    verdicts = [
        str(entry.facts["verdict"])
        for entry in project.entries("comparison")
        if entry.facts.get("tuned_model") == model
    ]
    return verdicts[-1] if verdicts else "not judged yet; run 06_evaluate to know whether it is better"


def models_beside(
    project: Project, before: TrainedModel, after: str, *, stages: str = "SFT"
) -> dict[str, AskedModel]:
    """The three to compare: base, the model gone on from, and the one that came of it.

    ``stages``: the trainings of the model gone on from, by which it is named; empty for the base model.
    The base model is asked with the best prompt of 01_baseline, with the short one where none was measured.
    """
    base, baseline = AskedModel(before.base, Prompt("short")), project.latest("baseline")
    if baseline is not None and baseline.facts.get("model") == before.base:
        best = Evaluation.load(project.path / str(baseline.facts["best_evaluation"]))
        base = AskedModel(before.base, best.prompt)
    short = Prompt("short")
    trained = {stages: AskedModel(before.model, short)} if stages else {}
    return {"base": base, **trained, " + ".join(filter(None, (stages, "DPO"))): AskedModel(after, short)}


def models_reinforced(started_from: str, tuned: str) -> dict[str, AskedModel]:
    """The models to compare after reinforcement: the base, the one its job started from, the one it made.

    All are asked as the job asks, by prompts that carry their own instruction.
    """
    base, names = base_name(started_from), {"before": started_from, "after": tuned}
    before = {"base": base, **names} if base != started_from else {"base": base, "after": tuned}
    return {name: AskedModel(model, AS_TRAINED) for name, model in before.items()}


def record_preference(
    project: Project, comparison: "ModelComparison", *, job_id: str, training_seconds: float, **more: JSON
) -> Entry:
    """Keep what a preference job reached and cost: the verdict, all scores, and every answer in files.

    ``more``: where the pairs came from, and how many there were.
    """
    facts = _kept_models(project, comparison, job_id)
    return project.record("preference", **facts, training_seconds=training_seconds, **more)


def record_pass_rates(project: Project, rates: "PassRates", quality: "GraderQuality") -> Entry:
    """Keep what was found before a reinforcement job, whether it starts or not, with the sampled answers."""
    content = rates.sampled.to_jsonl()
    file = f"evaluations/sampled-{hashlib.sha256(content).hexdigest()[:12]}.jsonl"
    project.save(file, content)
    facts = {name: _finite(each) for name, each in rates.facts.items()}
    found = {"grader_quality": _finite(quality.facts), "evaluation": file}
    return project.record("pass_rates", **facts, **found)


def record_reinforcement(
    project: Project,
    comparison: "ModelComparison",
    *,
    job_id: str,
    training_seconds: float,
    signs: "HackingSigns",
    **more: JSON,
) -> Entry:
    """Keep what a reinforcement job reached by the grader that judges, and the signs of reward hacking.

    ``more``: the hyperparameters as the service resolved them.
    """
    facts = _kept_models(project, comparison, job_id)
    facts |= {"difference": comparison.steps[comparison.aim].difference, "task": comparison.aim}
    facts |= {"reward_hacking": _finite(signs.facts), "training_seconds": training_seconds}
    return project.record("reinforcement", **facts, **more)


def _kept_models(project: Project, comparison: "ModelComparison", job_id: str) -> dict[str, JSON]:
    """Save every answer, and give the facts of the comparison with the places of the files."""
    files: dict[str, JSON] = {}
    for measure, evaluations in comparison.measured.items():
        for place, (name, side) in enumerate(evaluations.items()):
            file = f"evaluations/{job_id}/{measure}-{place}.jsonl".replace(" ", "_")
            project.save(file, side.to_jsonl())
            files[f"{measure}, {name}"] = file
    facts = {name: _finite(value) for name, value in comparison.facts.items()}
    tuned = comparison.measured[comparison.aim][comparison.models[-1]].model
    return {**facts, "tuned_model": tuned, "job_id": job_id, "evaluations": files}


def record_comparison(
    project: Project,
    comparison: "Comparison",
    *,
    job_id: str,
    training_seconds: float,
    release: "ReleaseCheck | None" = None,
    forgetting: "Forgetting | None" = None,
    slices: "Slices | None" = None,
) -> Entry:
    """Keep both evaluations, those of each job in files of their own, and the verdicts.

    Of ``forgetting`` stay the numbers: how many probes there were, and how many each model had right; of
    ``slices`` each with its scores; and the ids of ten examples, of what was broken and of what was fixed.
    """
    facts = comparison.facts
    chosen = {"broken": comparison.broken_examples, "fixed": comparison.fixed_examples}
    facts["headline"] = comparison.headline
    facts["examples"] = {what: [base.id for base, _ in pairs] for what, pairs in chosen.items()}
    facts |= {} if slices is None else {"slices": [each.facts for each in slices.slices]}
    for name, side in (("base", comparison.base), ("tuned", comparison.tuned)):
        file = f"evaluations/{job_id}/{name}.jsonl"
        project.save(file, side.to_jsonl())
        low, high = side.interval
        measured: dict[str, JSON] = {"prompt": side.prompt.name, "low": low, "high": high, "evaluation": file}
        facts |= {f"{name}_{what}": value for what, value in measured.items()}
    facts |= {} if release is None else {"gate": release.facts}
    facts |= {} if forgetting is None else {"forgetting": forgetting.numbers}
    grader = str(comparison.base.grader["name"])
    return project.record(
        "comparison",
        **{name: _finite(value) for name, value in facts.items()},
        grader=grader,
        job_id=job_id,
        training_seconds=training_seconds,
    )


def _finite(value: JSON) -> JSON:
    """The record is JSON, which has no ``nan``: what is not known is ``None``."""
    if isinstance(value, Mapping):
        return {name: _finite(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if value != value else value
