"""Training data in a shell: ``build``, ``check``, ``fix`` and ``undo``."""

import hashlib
import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
import yaml

from workbench import settings
from workbench.cli import AsJson, ProviderName
from workbench.dataset.dataset import JSON, counted
from workbench.errors import DataError
from workbench.jsonl_log import read_text, writing

if TYPE_CHECKING:
    from workbench.dataset.dataset import Dataset
    from workbench.evaluation.rehearsal import Rehearsal

ASPECTS = "format,tokens,repeats,texts,privacy"
File = Annotated[Path, typer.Argument(help="The file with the examples.")]
Output = Annotated[Path | None, typer.Option("--output", "-o", help="The file to write; it must be new.")]


def add_to(app: typer.Typer) -> None:
    """Offer these commands."""
    app.command("check")(check_file)
    app.command("build")(build_file)
    app.command("fix")(fix_file)
    app.command("undo")(undo_file)


def _explain(rules: str | None) -> None:
    """Print what the named rules ask, and end."""
    if rules is None:
        return
    from workbench.dataset.check.rules import explained

    typer.echo(explained(() if rules == "all" else _words(rules)))
    raise typer.Exit


def check_file(
    train: File,
    valid: Annotated[Path | None, typer.Argument(help="The validation file.")] = None,
    method: Annotated[str | None, typer.Option(help="sft, dpo or rft; else read from the lines.")] = None,
    model: Annotated[str | None, typer.Option(help="Count its tokens, hold to its limits.")] = None,
    grader: Annotated[Path | None, typer.Option(help="The grader's JSON, for rft.")] = None,
    response_format: Annotated[Path | None, typer.Option(help="The answers' JSON Schema, for rft.")] = None,
    test: Annotated[Path | None, typer.Option(help="The held-out test, which must stay unseen.")] = None,
    shots: Annotated[Path | None, typer.Option(help="The examples that stand in the prompt.")] = None,
    corpus: Annotated[Path | None, typer.Option(help="The documents that are retrieved.")] = None,
    group: Annotated[str | None, typer.Option(help="The field that must not be on both sides.")] = None,
    prompt: Annotated[Path | None, typer.Option(help="The request in use, with {question}: JSON.")] = None,
    only: Annotated[str, typer.Option(help="Some of these aspects, or ids of rules.")] = ASPECTS,
    explain: Annotated[
        str | None,
        typer.Option(
            help="Print what these rules ask ('all' for every rule), and end.",
            is_eager=True,
            callback=_explain,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List everything that is wrong with training data, at once."""
    from workbench.dataset.check.check import check
    from workbench.dataset.read import read

    report = check(
        train,
        validation=valid,
        test=test,
        shots=None if shots is None else read(shots),
        corpus=corpus,
        method=method,
        model=model,
        grader=None if grader is None else _mapping_in(grader),
        response_format=None if response_format is None else _mapping_in(response_format),
        group=group,
        prompt=None if prompt is None else _mapping_in(prompt),
        only=_words(only),
    )
    if as_json:
        sys.stdout.writelines(report.to_json())  # a piece for each problem, and none is held
    else:
        typer.echo(repr(report))
    raise typer.Exit(0 if report.ok else 1)


def build_file(
    source: File,
    output: Output = None,
    mapping: Annotated[
        Path | None,
        typer.Option("--mapping", "-m", help="YAML or JSON: question, answer, system, preferred, …"),
    ] = None,
    question: Annotated[
        str | None, typer.Option(help="A column, or a template like '{title}: {body}'.")
    ] = None,
    answer: Annotated[str | None, typer.Option(help="A column or a template.")] = None,
    system: Annotated[str | None, typer.Option(help="The instruction in front of every example.")] = None,
    preferred: Annotated[str | None, typer.Option(help="The better answer's column, for dpo.")] = None,
    rejected: Annotated[str | None, typer.Option(help="The worse answer's column, for dpo.")] = None,
    reference: Annotated[str, typer.Option(help="Columns that a grader reads, for rft: a,b")] = "",
    sheet: Annotated[str | None, typer.Option(help="The sheet of an Excel file.")] = None,
    rehearsal: Annotated[
        float | None,
        typer.Option(help="Against forgetting: mix in the base model's own answers, 0.2 is 20 for 100 rows."),
    ] = None,
    model: Annotated[str | None, typer.Option(help="The base model that answers for --rehearsal.")] = None,
    provider: ProviderName = None,
    prompts: Annotated[
        Path | None, typer.Option(help="Everyday prompts to rehearse; else those that come with this.")
    ] = None,
    test: Annotated[
        Path | None, typer.Option(help="The held-out test; its prompts are not rehearsed.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make the JSON lines that are uploaded, from a table or from somebody's chats."""
    from workbench.dataset.read import read

    given: dict[str, JSON] = {} if mapping is None else _mapping_in(mapping)
    flags = {
        "question": question,
        "answer": answer,
        "system": system,
        "preferred": preferred,
        "rejected": rejected,
        "reference": _words(reference) or None,
        "sheet": sheet,
    }
    unknown = next((name for name in given if name not in flags), None)
    if unknown is not None:
        raise DataError(f"{mapping} says {unknown}, which no mapping has; it may say {', '.join(flags)}.")
    given = {**given, **{name: value for name, value in flags.items() if value is not None}}
    columns = {name: _text(given, name) for name in flags if name != "reference"}
    dataset = read(source, reference=_texts(given, "reference"), **columns)
    rehearsed: dict[str, JSON] = {}
    if rehearsal:
        never = []
        if test is not None:
            never.append(read(test, question=columns["question"], answer=columns["answer"]))
        rows = _rehearsal(dataset, rehearsal, model, provider, prompts, never)
        dataset = replace(rows.mixed_into(dataset), notes=(*dataset.notes, rows.verdict))
        rehearsed = {"rehearsal": rows.facts}
    path = _write(output or source.with_suffix(".built.jsonl"), dataset.to_jsonl())
    facts = {"file": str(path), "examples": len(dataset), "sha256": dataset.sha256, "notes": dataset.notes}
    facts |= rehearsed
    sentence = f"{path}: {counted(len(dataset), 'example')}"
    typer.echo(json.dumps(facts) if as_json else "\n".join([sentence, *dataset.notes]))


def _rehearsal(
    dataset: "Dataset",
    share: float,
    model: str | None,
    provider: str | None,
    prompts: Path | None,
    never: Sequence["Dataset"],
) -> "Rehearsal":
    from workbench.connect import base_model, connect
    from workbench.evaluation.probes import read_probes
    from workbench.evaluation.rehearsal import read_prompts, rehearse

    client = connect(provider)
    cache = settings.home() / "evaluations" / "answers.jsonl"
    unseen = [read_probes(), *never]
    base = base_model(client, model)
    return rehearse(client, base, dataset, share, prompts=read_prompts(prompts), never=unseen, cache=cache)


def fix_file(
    file: File,
    output: Output = None,
    rules: Annotated[
        str | None, typer.Option(help="Repair these: pii,overlap; else what loses nothing.")
    ] = None,
    test: Annotated[Path | None, typer.Option(help="The held-out test, for the rule overlap.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show what can be repaired, as a diff; with --output, write the repaired file. The file itself stays."""
    from workbench.dataset.check.check import check
    from workbench.dataset.check.sources import LINES
    from workbench.dataset.read import column_names
    from workbench.dataset.repair.changes import keep_changes
    from workbench.dataset.repair.repair import propose

    if file.suffix.lower() not in LINES:
        column_names(file)  # a file that is not there is named first
        raise DataError(
            f"{file} is a table, and 'fix' repairs JSON lines; make them first: "
            f"python -m workbench build {shlex.quote(str(file))}"
        )
    report = check(file, test=test)
    repair = propose(file, report, rules=None if rules is None else _words(rules))
    if output is not None:
        _must_be_new(output)
        with writing(_ledger()):
            keep_changes(repair.changes, _ledger())
        repair.write(output)
    shown = f"{repair!r}\n{repair.diff()}".rstrip()
    typer.echo(json.dumps(dict(repair.record)) if as_json else shown)


def undo_file(file: File, output: Output = None) -> None:
    """Give back the file as it was before 'fix' wrote this one."""
    from workbench.dataset.json_text import content
    from workbench.dataset.repair.changes import find_changes, undo

    repaired = content(file)
    changes = find_changes(hashlib.sha256(repaired).hexdigest(), _ledger())
    path = _write(output or file.with_suffix(".before.jsonl"), undo(repaired, changes))
    typer.echo(f"{path}: as it was before.")


def _ledger() -> Path:
    return settings.home() / "repairs"


def _must_be_new(path: Path) -> None:
    """What is there is somebody's."""
    if path.exists():
        raise DataError(f"{path} exists already; give another name with --output, or remove it.")


def _write(path: Path, content: bytes) -> Path:
    _must_be_new(path)
    try:
        path.write_bytes(content)
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error.strerror}.") from error
    return path


def _words(text: str) -> list[str]:
    return text.replace(",", " ").split()


def _mapping_in(path: Path) -> dict[str, JSON]:
    try:
        found = yaml.safe_load(read_text(path))
    except yaml.YAMLError as error:
        raise DataError(f"{path} is neither YAML nor JSON: {str(error).splitlines()[0]}.") from error
    if not isinstance(found, dict):
        raise DataError(f"{path} should hold names and their values, like name: value.")
    return found


def _text(given: Mapping[str, JSON], name: str) -> str | None:
    value = given.get(name)
    if value is not None and not isinstance(value, str):
        raise DataError(f"{name} is {value!r} in the mapping; it should be a text.")
    return value


def _texts(given: Mapping[str, JSON], name: str) -> list[str]:
    value = given.get(name) or ()
    listed = [value] if isinstance(value, str) else value if isinstance(value, Sequence) else [value]
    texts = [text for text in listed if isinstance(text, str)]
    if len(texts) < len(listed):
        raise DataError(f"{name} is {value!r} in the mapping; it should be a list of columns.")
    return texts
