"""A project with a whole record, made without a service: what tests of reports draw."""

from dataclasses import replace

from made_evaluations import evaluation
from openai.types.fine_tuning import FineTuningJob

from workbench.dataset.check.check import check
from workbench.dataset.dataset import Dataset, Example
from workbench.dataset.repair.repair import propose
from workbench.decide.decision import decide
from workbench.decide.situation import situation
from workbench.evaluation.compare import compare
from workbench.evaluation.evaluation import Evaluation
from workbench.evaluation.probes import forgotten
from workbench.evaluation.prompt_comparison import compare_prompts
from workbench.evaluation.prompts import Prompt
from workbench.evaluation.records import record_baseline, record_comparison
from workbench.evaluation.release_check import release_check
from workbench.project import Project
from workbench.training.checkpoints import choose_checkpoint
from workbench.training.curve_files import read_curve
from workbench.training.diagnosis import Conclusion, diagnose
from workbench.training.follow import KeptCheckpoint, Progress
from workbench.training.jobs import keep_data
from workbench.training.runs import record_curve
from workbench.training.spec import JobSpec

BASE, TUNED = "0" * 40 + "1" * 10, "1" * 30 + "0" * 18 + "1" * 2


def faq() -> Dataset:
    said = (
        (
            {"role": "user", "content": f"What is {n} and {n}?"},
            {"role": "assistant", "content": f"It is {2 * n}."},
        )
        for n in range(2, 22)
    )
    rows = tuple(Example(each, f"faq.csv:{n}") for n, each in enumerate(said, start=2))
    spaced = ({"role": "user", "content": "Why?"}, {"role": "assistant", "content": " So. "})
    return Dataset("faq.csv", (*rows, Example(spaced, "faq.csv:22")))


def probes(right: int, model: str) -> Evaluation:
    found = evaluation("1" * right + "0" * (100 - right), model)
    items = (
        replace(item, more={"category": "tone" if n % 2 else "facts"}) for n, item in enumerate(found.items)
    )
    return replace(found, items=tuple(items))


def results() -> bytes:
    """A curve of 40 steps as a service gives it."""
    lines = [
        f"{step},{2 * 0.95**step:.4f},{'' if step % 20 else 1.5 - step / 50},{'' if step % 20 else step / 50}"
        for step in range(1, 41)
    ]
    return "\n".join(["step,train_loss,full_valid_loss,full_valid_mean_reward", *lines]).encode()


def with_text(found: Evaluation, question: str, answer: str) -> Evaluation:
    """The same scores, for other questions and answers."""
    items = (replace(item.answered(text=answer), question=question) for item in found.items)
    return replace(found, items=tuple(items))


def trained(
    project: Project, job_id: str = "ftjob-1", *, seed: int = 3, tuned: str = TUNED, **texts: str
) -> None:
    """A job of the project with its curve, compared and checked."""
    data, model = faq(), f"nano.ft-{job_id.removeprefix('ftjob-')}"
    spec = JobSpec(data.take(15), "nano", data[15:], seed=seed)
    project.record("job", job_id=job_id, content=spec.content, endpoint="127.0.0.1", **spec.facts("local"))
    job = FineTuningJob.model_validate(
        {
            "id": job_id,
            "object": "fine_tuning.job",
            "created_at": 1000,
            "finished_at": 1260,
            "model": "nano",
            "fine_tuned_model": model,
            "status": "succeeded",
            "hyperparameters": {"n_epochs": 4, "batch_size": 2, "learning_rate_multiplier": 1.0},
            "trained_tokens": 4000,
            "training_file": "file-1",
            "result_files": [],
            "seed": seed,
            "organization_id": "",
        }
    )
    curve = read_curve(results())
    found = (diagnose(curve, n_epochs=4), choose_checkpoint(curve, ()), KeptCheckpoint(()))
    concluded = Conclusion("Use it", "Compare it (06_evaluate).", (("Curve", "It falls."),), *found)
    record_curve(project, Progress(job, curve, (), results()), concluded)
    base = evaluation(BASE, "nano", prompt=Prompt("few-shot"))
    after = evaluation(tuned, model, prompt=Prompt("short"))
    if texts:
        base, after = (with_text(each, **texts) for each in (base, after))
    comparison = compare(base, after)
    forgetting = forgotten(probes(60, "nano"), probes(20, model))
    checked = release_check(comparison, forgetting=forgetting)
    made_by = {"job_id": job_id, "training_seconds": 260}
    record_comparison(project, comparison, release=checked, forgetting=forgetting, **made_by)


def walked(project: Project, **texts: str) -> Project:
    """The project after 00 to 06; ``texts`` are the question and the answer of every item of the test."""
    data = faq()
    project.record("environment", versions={"python": "3.11.7", "torch": "2.13.0"}, model="nano")
    prompts = [evaluation("0" * 50, "nano", prompt=Prompt("zero-shot"))]
    prompts.append(evaluation(BASE, "nano", prompt=Prompt("few-shot")))
    record_baseline(project, compare_prompts(prompts), test_sha256="e" * 64)
    known = situation({"target": 0.9, "score": 0.2, "eval_items": 50})
    project.record("decision", **decide(known).facts, situation=known.facts)
    project.lock("test", "e" * 64)
    repair = propose(data)
    kept = {"source": "/home/jane/faq.csv", "report": check(data), "repairs": [repair]}
    keep_data(project, data.take(15), data[15:], **kept)
    trained(project, **texts)
    return project
