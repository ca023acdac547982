"""Evaluate, compare and diagnose in a shell, with an exit code that CI can refuse a model by."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from workbench import settings
from workbench.cli import AsJson, ProviderName
from workbench.errors import DataError
from workbench.jsonl_log import read_text

if TYPE_CHECKING:
    from workbench.evaluation.evaluation import Evaluation
    from workbench.evaluation.prompts import Prompt

# A loss curve in a shell: what it shows, with an exit code that CI can act on.
#
# Exit code 0: the curve is healthy, or still improving. 1: it should not go on like this (diverged, leakage
# suspected, overfitting, underfitting, memorised, reward hacking, no signal). 2: it cannot be judged, because
# the file is no curve, too little was measured, or nothing for validation; a sentence says which.

# Is a model good, and is a tuned one better? In a shell, with an exit code that CI can refuse a model by.
#
# Exit code 0: it passes. 1: it is refused. 2: nothing can be said, because a file, a grader or a service
# stands in the way; a sentence says which. An interrupted ``evaluate`` (130) goes on where it was.

GOOD = ("healthy", "still_improving", "pairs_in_order")
NOT_JUDGED = ("insufficient_data", "no_validation_cannot_judge", "cannot_tell")


def diagnose_file(
    file: Annotated[
        Path, typer.Argument(help="A job's results.csv, its events or a trainer_state.json (JSON).")
    ],
    method: Annotated[str | None, typer.Option(help="sft, dpo or rft; else read from the columns.")] = None,
    n_epochs: Annotated[float | None, typer.Option(help="How many epochs the curve covers.")] = None,
    leaks: Annotated[
        int | None, typer.Option(help="How many validation rows 'check' found in the training data.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """How does a loss curve look? Exit code 0: well; 1: not well; 2: it cannot be judged."""
    from workbench.training.curve_files import read_curve
    from workbench.training.diagnosis import diagnose

    diagnosis = diagnose(read_curve(file), method=method, n_epochs=n_epochs, leaks=leaks)
    typer.echo(json.dumps(diagnosis.facts) if as_json else repr(diagnosis))
    raise typer.Exit(0 if diagnosis.verdict in GOOD else 2 if diagnosis.verdict in NOT_JUDGED else 1)


REFUSED, INTERRUPTED = 1, 130

Column = typer.Option(help="A column, or a template like '{title}: {body}'; else guessed.")


def add_to(app: typer.Typer) -> None:
    """Offer these commands."""
    app.command("diagnose")(diagnose_file)
    app.command("evaluate")(evaluate_file)
    app.command("compare")(compare_files)
    app.command("ask")(ask_models)
    app.command("report")(report_projects)


def evaluate_file(
    data: Annotated[Path, typer.Argument(help="The questions with their right answers.")],
    model: Annotated[str, typer.Option(help="The model, or on Azure the deployment.")],
    grader: Annotated[
        str, typer.Option(metavar="NAME|FILE", help="A ready-made grader, or your own: mine.py or mine.json.")
    ] = "exact",
    question: Annotated[str | None, Column] = None,
    answer: Annotated[str | None, Column] = None,
    system: Annotated[
        str | None, typer.Option(help="The instructions, in place of each example's own.")
    ] = None,
    prompt: Annotated[
        Path | None,
        typer.Option(help="A text with the instructions, or an evaluation whose whole prompt is used."),
    ] = None,
    samples: Annotated[int, typer.Option(min=1, help="So many answers to each question.")] = 1,
    temperature: Annotated[float, typer.Option(min=0, max=2, help="Above 0 for several samples.")] = 0.0,
    max_tokens: Annotated[int, typer.Option(min=1, help="The longest answer.")] = 64,
    cluster: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Rows with the same value belong together.")
    ] = None,
    first: Annotated[int | None, typer.Option(min=1, metavar="N", help="Only the first N rows.")] = None,
    concurrency: Annotated[int, typer.Option(min=1, help="So many questions at a time.")] = 32,
    provider: ProviderName = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Keep the evaluation: .jsonl or .parquet.")
    ] = None,
    at_least: Annotated[
        float | None, typer.Option(min=0, max=1, metavar="SHARE", help="The lowest mean score that passes.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Ask a model every question and grade its answers; exit code 1: the score is below --at-least.

    All answers are kept, so that a second run asks only what is missing. For the check, an item that could
    not be graded scores 0.
    """
    from openai import NotFoundError

    from workbench.connect import connect
    from workbench.dataset.read import read
    from workbench.evaluation.evaluate import evaluate
    from workbench.evaluation.graders.ready_made import grader as grader_of
    from workbench.task import find_model

    dataset = read(data, question=question, answer=answer)
    dataset = dataset.take(len(dataset) if first is None else first)
    chosen, asked_with = grader_of(grader), _prompt(system, prompt)
    client = connect(provider)
    cache = settings.home() / "evaluations" / "answers.jsonl"
    try:
        found = evaluate(
            client,
            model,
            dataset,
            chosen,
            prompt=asked_with,
            samples=samples,
            max_tokens=max_tokens,
            temperature=temperature,
            cluster=cluster,
            concurrency=concurrency,
            cache=cache,
        )
    except NotFoundError:
        find_model(client, model)  # raises where the service has none of this name, and says which it has
        raise
    except KeyboardInterrupt as error:
        typer.echo("\n".join(["Stopped.", *getattr(error, "__notes__", ())]), err=True)
        raise typer.Exit(INTERRUPTED) from None
    if output is not None:
        found.to_parquet(output) if output.suffix == ".parquet" else found.save(output)
    for problem, items in found.problems.items():
        typer.echo(f"{items} could not be graded: {problem}", err=True)
    reached = sum(item.score for item in found.graded) / len(found.items)
    passed = at_least is None or reached >= at_least
    check = {"at_least": at_least, "passed": passed}
    typer.echo(json.dumps({**found.facts, **check}) if as_json else _sentence(found, at_least, passed))
    raise typer.Exit((0 if passed else REFUSED) if found.graded else 2)


def compare_files(
    base: Annotated[Path, typer.Argument(help="The base model's evaluation, or lines of id and score.")],
    tuned: Annotated[Path, typer.Argument(help="The tuned model's, of the same items.")],
    also: Annotated[
        list[Path] | None, typer.Option(help="A further model of which this one was chosen; repeat for more.")
    ] = None,
    minimum: Annotated[
        float, typer.Option(min=0, max=100, metavar="POINTS", help="The smallest difference that matters.")
    ] = 2.0,
    comparisons_made: Annotated[
        int,
        typer.Option(
            "--comparisons-made",
            "--looked-at",
            min=1,
            metavar="K",
            help="So many models, checkpoints or prompts were tried on it.",
        ),
    ] = 1,
    leaked: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Items seen in training: an id or origin a line.")
    ] = None,
    missing: Annotated[
        Literal["refuse", "leave-out"], typer.Option(help="What to do with items that only one answered.")
    ] = "refuse",
    must: Annotated[
        Literal["better", "not-worse"],
        typer.Option(help="better: by what matters; not-worse: no loss that matters is possible."),
    ] = "better",
    as_json: AsJson = False,
) -> None:
    """Is the tuned model better than the base model? Exit code 1: it is not shown to be what it --must be."""
    from workbench.evaluation.compare import compare
    from workbench.evaluation.probes import NonInferiority
    from workbench.evaluation.scores import read_scores

    comparison = compare(
        read_scores(base),
        read_scores(tuned),
        also=[read_scores(path) for path in also or ()],
        minimum=minimum / 100,
        comparisons_made=comparisons_made,
        contaminated=() if leaked is None else _lines_of(leaked),
        missing="refuse" if missing == "refuse" else "leave out",
    )
    guarded = NonInferiority(comparison, minimum / 100)
    passed = guarded.outcome == "not worse" if must == "not-worse" else comparison.outcome == "better"
    verdict = comparison.verdict if must == "better" else f"{guarded.verdict}\n{comparison.verdict}"
    facts = {**comparison.facts, "not_worse": guarded.facts, "must": must, "passed": passed}
    typer.echo(json.dumps(facts) if as_json else verdict)
    raise typer.Exit(0 if passed else REFUSED)


def ask_models(
    question: Annotated[str | None, typer.Argument(help="The question; else what stdin says.")] = None,
    name: Annotated[str, typer.Option("--project", metavar="NAME", help="Whose models and prompts.")] = "gql",
    model: Annotated[
        list[str] | None,
        typer.Option(help="A model to ask, repeat for more; else the project's base and tuned model."),
    ] = None,
    prompt: Annotated[str, typer.Option(help="short, engineered, or the best one of 01_baseline.")] = "short",
    max_tokens: Annotated[int, typer.Option(min=1, help="The longest answer.")] = 256,
    temperature: Annotated[float, typer.Option(min=0, max=2, help="0 gives the likeliest answer.")] = 0.0,
    provider: Annotated[
        str | None, typer.Option(help="local, azure or openai; else the project's, else WORKBENCH_PROVIDER.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Ask models a question of your own, one after the other; each answer shows as it is written."""
    from workbench.connect import connect
    from workbench.evaluation import by_hand
    from workbench.evaluation.requests import Request
    from workbench.project import open_project

    asked = (typer.get_text_stream("stdin").read() if question in (None, "-") else question or "").strip()
    if not asked:
        raise DataError("There is no question; give one in quotes, or on stdin.")
    project = open_project(name)
    prompts = by_hand.prompts_of(project)
    if prompt not in prompts:
        raise DataError(f"Project {name} has no prompt '{prompt}'; it has {', '.join(prompts)}.")
    client = connect(provider or project.stated("provider"))
    models = {each: each for each in model} if model else by_hand.models_of(client, project)
    messages = prompts[prompt].messages(by_hand.asked_by_hand(project, asked))
    answers = []
    try:
        for called, each in models.items():
            if not as_json:
                typer.echo(f"{called}:" if called == each else f"{called} ({each}):")
            shown = ""
            for answer in by_hand.stream(client, Request(each, messages, max_tokens, temperature)):
                if not as_json:
                    typer.echo(answer.text.removeprefix(shown), nl=False)
                shown = answer.text
            if not as_json:
                typer.echo(f"\n({by_hand.cost_of(answer)})\n")
            answers.append({"name": called, "model": each, **answer.facts})
    except KeyboardInterrupt:
        typer.echo("\nStopped.", err=True)
        raise typer.Exit(INTERRUPTED) from None
    if as_json:
        typer.echo(json.dumps({"question": asked, "prompt": prompt, "answers": answers}, ensure_ascii=False))


def report_projects(
    project: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="The project; repeat to set several side by side."),
    ] = None,
    run: Annotated[
        list[int] | None,
        typer.Option(metavar="N", help="This run of the project, the first is 1; repeat for more."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A .html or .md file; else report.html of the project."),
    ] = None,
    force: Annotated[bool, typer.Option(help="Replace a file that is no report.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write what came out on one page that opens anywhere: verdict, data, curve, scores, cost, hashes."""
    from workbench.report import report

    written = report(*(project or ()), runs=run or (), out=out, force=force)
    facts = {"report": str(written.path), "bytes": written.path.stat().st_size}
    typer.echo(json.dumps(facts) if as_json else repr(written))


def _prompt(system: str | None, file: Path | None) -> "Prompt":
    from workbench.evaluation.evaluation import Evaluation
    from workbench.evaluation.prompts import AS_TRAINED, Prompt

    if system is not None and file is not None:
        raise DataError("--system and --prompt both say what the instructions are; give one of them.")
    if file is None:
        return AS_TRAINED if system is None else Prompt("system", system=system)
    if file.suffix in (".jsonl", ".parquet"):
        return Evaluation.load(file).prompt
    return Prompt(file.stem, system=read_text(file).strip())


def _lines_of(file: Path) -> list[str]:
    return [line.strip() for line in read_text(file).splitlines() if line.strip()]


def _sentence(found: "Evaluation", at_least: float | None, passed: bool) -> str:
    found_enough = "" if at_least is None else f" {'At' if passed else 'Not at'} least {100 * at_least:g} %."
    return f"{found.model}, asked with the prompt {found.prompt.name}: {found.verdict}.{found_enough}"
