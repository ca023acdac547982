"""``python -m workbench``: the verbs of the public API for a shell and for CI.

Each command is a few lines over the package. What the user can put right is
one sentence on stderr and exit code 2; a notebook that fails is exit code 1.
"""

import inspect
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext, redirect_stdout
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workbench import runner, settings
from workbench.cli import (
    AsJson,
    Home,
    NameAndValue,
    OneSentence,
    data,
    decide,
    evaluate,
    guide,
    hosting,
    jobs,
)
from workbench.connect import base_model, connect
from workbench.connection_check import self_test
from workbench.errors import DataError, SetupError, did_you_mean
from workbench.project import Project, existing_project, open_project, state_task
from workbench.task import PARAMETERS, SETTINGS, TASK_FILE, Setting, sample_task, samples

if TYPE_CHECKING:
    from openai import OpenAI

app = typer.Typer(
    cls=OneSentence,
    help="Fine-tune a language model and know that it is better.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
service = typer.Typer(help="The local service, which trains and serves models here.", no_args_is_help=True)
for add_to in (data.add_to, decide.add_to, jobs.add_to, hosting.add_to, evaluate.add_to):
    add_to(app)
app.add_typer(service, name="service")
app.command("guide")(guide.guide_page)


def _say_version(asked: bool) -> None:
    if asked:
        typer.echo(f"workbench {settings.VERSION}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", is_eager=True, callback=_say_version, help="Print the version, and end."),
    ] = False,
) -> None:
    """Hold what stands before a command."""


Port = Annotated[int | None, typer.Option(help="The port to listen on; else a free one.")]


@app.command(cls=NameAndValue)
def run(
    parameter: Annotated[
        list[str] | None,
        typer.Option(
            "--parameter", "-p", metavar="NAME=VALUE", help="Set a parameter (listed below); repeat for more."
        ),
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--file", "-f", help="Take parameters from a YAML or JSON file.")
    ] = None,
    name: Annotated[
        str | None, typer.Option("--project", metavar="NAME", help="The project; else the sample's, gql.")
    ] = None,
    only: Annotated[str, typer.Option(metavar="01,04", help="Run these notebooks alone.")] = "",
    no_gate: Annotated[
        bool, typer.Option("--no-gate", help="Exit code 0 even where the release check refuses the model.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Execute the notebooks in order, and print the base model beside the tuned one.

    Exit code 1: a notebook failed, or the release check of 06_evaluate refuses the tuned model.

    What the task is stands in the project (python -m workbench new); -p changes any of it for this run.
    """
    os.environ.setdefault("WORKBENCH_HEADLESS", "1")
    given = [(name, value) for name, _, value in (word.partition("=") for word in parameter or ())]
    parameters = {"PROJECT": "gql"} | runner.read_parameters(given, file)
    parameters |= {} if name is None else {"PROJECT": name}
    plans = runner.plan(parameters, only=[start.strip() for start in only.split(",") if start.strip()])
    project = open_project(str(parameters["PROJECT"]))
    needed = any(planned.needs_task for planned in plans) or parameters.keys() & PARAMETERS.keys()
    task = runner.state(project, parameters) if needed else None
    client = _connected(parameters.get("PROVIDER") or project.stated("provider"))
    if task is not None and any(planned.needs_task for planned in plans):
        named = [parameters.get(name) for name in ("TEACHER", "JUDGE")]
        model = base_model(client, str(parameters.get("MODEL") or task.model or "") or None)
        for note in task.check(client, model, *(str(each) for each in named if each)).notes:
            typer.echo(note, err=True)
    folder = project.path / "runs" / datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    folder.mkdir(parents=True)
    typer.echo(f"Executed notebooks are kept in {folder}", err=True)
    runs = {
        planned.name: runner.NotebookRun(planned.name, folder / planned.notebook.name) for planned in plans
    }
    try:
        with runner.for_this_run(task, project, folder) if task else nullcontext():
            for done in runner.execute(plans, folder):
                runs[done.name] = done
                typer.echo(f"{done.name:<20} {done.status:<10} {done.seconds:6.1f} s", err=True)
    except KeyboardInterrupt:
        typer.echo(_goes_on(project, client), err=True)
        raise typer.Exit(130) from None
    summary = runner.summarize(project, runs.values(), folder)
    facts = summary.facts | {"report": _reported(project)}
    project.save(f"runs/{folder.name}/summary.json", json.dumps(facts, indent=2))
    typer.echo(json.dumps(facts) if as_json else str(summary))
    for failed in (run for run in summary.runs if run.error is not None):
        typer.echo(f"{failed.name} failed in {failed.error}", err=True)
        typer.echo(f"Open it: python -m workbench lab {failed.path}", err=True)
        raise typer.Exit(1)
    if summary.release.get("result") == "refused" and not no_gate:
        raise typer.Exit(1)


_METAVARS = {"file": "FILE", "grader": "NAME|FILE", "share": "SHARE", "dollars": "USD"}


def _with_settings(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command an option for each setting of a task, which comes by the setting's name."""
    shape = inspect.signature(command)
    parameters = [each for each in shape.parameters.values() if each.kind is not each.VAR_KEYWORD]
    for each in SETTINGS:
        kind, meaning = each.metadata["kind"], str(each.metadata["meaning"])
        words = f"--{'train' if each.name == 'examples' else each.name.replace('_', '-')}"
        sentence = f"{meaning[0].upper()}{meaning[1:]}{'' if meaning.endswith('?') else '.'}"
        option = typer.Option(words, metavar=_METAVARS.get(kind, "TEXT"), help=sentence)
        number, text = Annotated[float | None, option], Annotated[str | None, option]
        taken = number if kind in ("share", "dollars") else text
        parameters.append(
            inspect.Parameter(each.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=taken)
        )
    vars(command)["__signature__"] = shape.replace(parameters=parameters)
    return command


@app.command()
def replay(
    name: Annotated[str, typer.Option("--project", metavar="NAME", help="The project to run again.")] = "gql",
    model: Annotated[str | None, typer.Option(help="Another base model.")] = None,
    train: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Examples in place of those of the task.")
    ] = None,
    rows: Annotated[Path | None, typer.Option(metavar="FILE", help="Examples in addition to them.")] = None,
    to: Annotated[
        str | None, typer.Option("--as", metavar="NAME", help="The new project; else old name and change.")
    ] = None,
    parameter: Annotated[
        list[str] | None,
        typer.Option("--parameter", "-p", metavar="NAME=VALUE", help="As for run; repeat for more."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run a project again on another base model or other rows, and compare old with new.

    Task, grader and locked test stay. Exit code as of run: 1 where the release check refuses the new model.
    """
    from workbench.replay import old_and_new
    from workbench.replay import replay as stated_again
    from workbench.report import report

    old = existing_project(name)
    again = stated_again(old, model=model, train=train, rows=rows, name=to)
    typer.echo(f"The replay is project {again.name}.", err=True)
    code = 0
    try:
        with redirect_stdout(sys.stderr):
            run(parameter=parameter, name=again.name, as_json=False)
    except typer.Exit as ended:
        code = ended.exit_code
    if again.latest("comparison") is None:
        raise typer.Exit(code or 1)
    found, written = old_and_new(old, again), report(old, again)
    typer.echo(json.dumps({**found.facts, "report": str(written.path)}) if as_json else found.text)
    raise typer.Exit(code)


@app.command()
@_with_settings
def new(
    name: Annotated[str, typer.Argument(help="The project's name.")],
    sample: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Copy the task of a sample (gql, support), in place of all these."),
    ] = None,
    force: Annotated[bool, typer.Option(help="Replace the task that the project states.")] = False,
    as_json: AsJson = False,
    **given: Any,
) -> None:
    """Write down once what a project is about; then: python -m workbench run --project NAME."""
    from workbench.evaluation.graders.ready_made import grader as ready_or_own

    project = open_project(name)
    file = project.path / TASK_FILE
    if file.exists() and not force:
        raise DataError(f"{file} is there already; edit it, or replace it with --force.")
    if sample is not None:
        if sample_task(sample) is None:
            raise DataError(f"There is no sample {sample!r}; choose {', '.join(samples())}.")
        given = open_project(sample).task.facts | {name: value for name, value in given.items() if value}
    asks = sys.stdin.isatty() and not as_json and sample is None
    for setting, words in _ASKED.items():
        if asks and given[setting] is None:
            given[setting] = typer.prompt(words, default="", show_default=False).strip() or None
    if asks and given["examples"] is not None:
        given |= _asked_columns(str(given["examples"]), given)
    if missing := [option for option, setting in _NEEDED.items() if given[setting] is None]:
        raise DataError(
            f"{' and '.join(missing)} must be given: python -m workbench new {name} --train FILE --test FILE"
        )
    if given["grader"] is not None:
        ready_or_own(str(given["grader"]))  # raises for one that is none
    task = state_task(project, given, new=True)
    for setting in ("question", "answer"):
        if given[setting] is None and getattr(task, setting) is not None:
            typer.echo(f"The {setting} is guessed: the column {getattr(task, setting)!r}.", err=True)
    typer.echo(
        json.dumps({"file": str(file), **task.facts})
        if as_json
        else f"{task}\n\nWritten to {file}; edit it there."
    )
    typer.echo(f"Next: python -m workbench run --project {name}", err=True)


def _asked_columns(examples: str, given: Mapping[str, Setting]) -> dict[str, Setting]:
    """Ask which columns are question and answer, where they are not named; Enter takes the guess."""
    from workbench.dataset.read import read_header

    named = {name: None if given[name] is None else str(given[name]) for name in ("question", "answer")}
    guess: dict[str, str | None] = {"question": None, "answer": None}
    try:
        header = read_header(examples, **named)
    except DataError as error:  # the sentence lists the columns there are
        typer.echo(str(error), err=True)
    else:
        if header.names is None:
            return {}
        guess = {"question": header.question, "answer": header.answer}
    return {
        name: column or typer.prompt(f"The column with the {name}", default=guess[name])
        for name, column in named.items()
    }


_NEEDED = {"--train": "examples", "--test": "test"}
_ASKED = {
    "examples": "The examples to learn from (CSV, Excel, Parquet or JSONL)",
    "test": "The test set, never trained on",
    "system": "The short instruction in front of every question (Enter: none)",
    "grader": "What is right: exact, normalised, contains, numeric, or your .py or .json file (Enter: exact)",
}


@app.command("projects")
def show_projects(
    name: Annotated[str | None, typer.Argument(help="One project: its page.")] = None,
    provider: Annotated[
        str | None, typer.Option(help="Ask this service what each run of NAME has cost.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the projects, or show one: steps done and next, runs, scores, cost, dates that come near."""
    from workbench.widgets.project_page import project_page

    project = None if name is None else existing_project(name)
    client = connect(provider) if provider and project else None
    page = project_page(project, client)
    typer.echo(json.dumps(page.facts) if as_json else repr(page))


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    options_metavar="[PATH] [JUPYTERLAB'S OPTIONS]",
)
def lab(context: typer.Context) -> None:
    """Open JupyterLab on the notebooks, or on a PATH.

    PATH is a notebook, a folder, or the beginning of a notebook's name (04); without it, 00_start_here.
    Further options are JupyterLab's own: --no-browser, --port=8899, and as root --allow-root.
    """
    words = context.args
    named = next((word for word in words if not word.startswith("-") and _is_place(word, words)), None)
    path = runner.NOTEBOOKS / "00_start_here.ipynb" if named is None else _place(named)
    options = [word for word in words if word != named]
    folder = path if path.is_dir() else path.parent
    command = [sys.executable, "-m", "jupyterlab", *([] if path.is_dir() else [str(path)])]
    command += [f"--ServerApp.root_dir={folder}", *_quiet_kernels(), *options]
    if hasattr(os, "geteuid") and os.geteuid() == 0 and not any("allow" in word for word in options):
        typer.echo("You are root: where JupyterLab refuses to start, add --allow-root.", err=True)
    if os.name == "nt":
        raise typer.Exit(subprocess.call(command))
    os.execv(sys.executable, command)  # in our place, so that Ctrl-C and signals are JupyterLab's own


def _is_place(word: str, words: Sequence[str]) -> bool:
    """Whether it is meant as the PATH, and not as the value of the option before it (``--port 8899``)."""
    before = words[: words.index(word)]
    return Path(word).exists() or word.endswith(".ipynb") or not before or "=" in before[-1]


def _place(named: str) -> Path:
    """The notebook or folder of this name; for a name that is none, say which there are."""
    if Path(named).exists():
        return Path(named).resolve()
    if begins := [path for path in runner.notebooks() if path.name.startswith(named)]:
        return begins[0]
    there_are = [path.stem for path in runner.notebooks()]
    meant = did_you_mean(Path(named).stem, there_are)
    raise DataError(f"There is no file or folder {named}.{meant} The notebooks are {', '.join(there_are)}.")


@service.command()
def start(port: Port = None, home: Home = None) -> None:
    """Start the local service in the background, or find it running."""
    from workbench.local import process

    address = process.start(_folder(home), port=port)
    typer.echo(f"The local service runs at {address.url} (process {address.pid}).")


@service.command()
def stop(home: Home = None) -> None:
    """Stop the local service; a job it works on goes on at the next start."""
    from workbench.local import process

    stopped = process.stop(_folder(home))
    typer.echo("The local service has stopped." if stopped else "The local service was not running.")


@service.command()
def status(home: Home = None, as_json: AsJson = False) -> None:
    """Say whether the local service runs, and where; exit code 1 when it does not."""
    from workbench.local import process

    address = process.find(_folder(home))
    facts = {"running": address is not None, "url": address and address.url, "pid": address and address.pid}
    sentence = "The local service is not running; start it with: python -m workbench service start"
    if address is not None:
        sentence = f"The local service runs at {address.url} (process {address.pid})."
    typer.echo(json.dumps(facts) if as_json else sentence)
    raise typer.Exit(0 if address is not None else 1)


@service.command(
    "run",
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    add_help_option=False,  # --help too is answered there, with every fault that can be rehearsed
)
def run_service(asked: typer.Context) -> None:
    """Run the local service in the foreground, with quotas, faults or a faster clock as --help lists them."""
    from workbench.local import __main__ as foreground

    ended = foreground.main(asked.args, program="python -m workbench service run")
    raise typer.Exit(2 if ended else 0)


def _folder(home: Path | None) -> Path:
    return settings.home() if home is None else home.resolve()


def _connected(provider: runner.Value) -> "OpenAI":
    """Open the connection once before any notebook, so that what is missing shows at once."""
    client = connect(None if provider is None else str(provider))
    test = self_test(client)
    if not test.ok:
        raise SetupError(test.sentence)
    return client


def _reported(project: Project) -> str | None:
    """Write the project's report, and say where it is; a file of that name that is none of ours stays."""
    from workbench.report import report

    try:
        written = report(project)
    except (DataError, SetupError) as error:
        typer.echo(f"The report is not written: {error}", err=True)
        return None
    typer.echo(f"What came out, on one page: {written.path}", err=True)
    return str(written.path)


def _goes_on(project: Project, client: "OpenAI") -> str:
    """Say after Ctrl-C what goes on without us, and how to find or stop it."""
    entry = project.latest("job")
    if entry is not None:
        job = client.fine_tuning.jobs.retrieve(str(entry.facts["job_id"]))
        if job.finished_at is None:
            return (
                f"Stopped here; job {job.id} goes on. The same command finds it again; "
                f"to end it: python -m workbench jobs cancel {job.id}"
            )
    return "Stopped here; the same command goes on from what is done, and does nothing twice."


def _quiet_kernels() -> list[str]:
    """Let JupyterLab's kernels listen on files, not on ports, which each of them would warn about."""
    return [] if os.name == "nt" else ["--KernelManager.transport=ipc"]


def main() -> None:
    """What the command ``workbench`` runs, and ``python -m workbench``."""
    as_command = Path(sys.argv[0]).stem == "workbench"
    app(prog_name="workbench" if as_command else "python -m workbench")


if __name__ == "__main__":
    main()
