"""The data of a job, kept in the project: what is uploaded, what was mended on the way, and their hashes."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from workbench.dataset.checking.report import Report
from workbench.dataset.examples import Dataset
from workbench.dataset.repairing.changes import changes_to_jsonl
from workbench.dataset.repairing.repair import Repair
from workbench.project import JSON, Entry, Project

_LEAKS = ("overlap", "near_overlap", "same_group")


def keep_data(
    project: Project,
    training: Dataset,
    validation: Dataset,
    *,
    source: str | Path,
    report: Report,
    repairs: Sequence[Repair] = (),
) -> Entry:
    """Save the two files and every change behind them, and write down which bytes they are.

    They lie in a folder of their own, named by their content, so that what a later run is trained on never
    takes the place of what an earlier one was. The changes hold what was replaced, personal data too;
    they stay in the project's folder.
    """
    both = hashlib.sha256(f"{training.sha256} {validation.sha256}".encode()).hexdigest()
    folder = f"data/{both[:12]}"
    project.save(f"{folder}/training.jsonl", training.to_jsonl())
    project.save(f"{folder}/validation.jsonl", validation.to_jsonl())
    for number, repair in enumerate(repairs, 1):
        project.save(f"{folder}/repair-{number}.jsonl", changes_to_jsonl(repair.changes))
    return project.record(
        "dataset",
        source=str(source),
        training_file=f"{folder}/training.jsonl",
        training_sha256=training.sha256,
        training_examples=len(training),
        validation_file=f"{folder}/validation.jsonl",
        validation_sha256=validation.sha256,
        validation_examples=len(validation),
        repairs=[repair.record for repair in repairs],
        problems=report.counts,
        evidence=data_evidence(report),
    )


def data_evidence(report: Report) -> Mapping[str, JSON]:
    """What a check of the data says to the question whether to fine-tune: fields of a ``Situation``."""
    contradicting = {p.origin for p in report.of("contradiction") if p.line is not None}
    leaked = {problem.origin for problem in report.errors if problem.rule in _LEAKS}
    refused = {p.origin for p in report.errors if p.rule not in (*_LEAKS, "contradiction")}
    counted = {"sft": "demonstrations", "dpo": "pairs", "rft": "prompts"}[report.method]
    return {
        counted: report.examples,
        "contradictions": len(contradicting) / max(1, report.examples),
        "leaks": len(leaked),
        "format_errors": len(refused),
    }
