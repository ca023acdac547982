"""``python -m workbench``: the front desk's verbs for a shell and for CI.

Each command is a few lines over the package. What the user can put right is
one sentence on stderr and exit code 2; a notebook that fails is exit code 1.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from workbench import runner, settings
from workbench.cli import data, decide, evaluate, jobs
from workbench.cli.shell import AsJson, Home, OneSentence, Pairs
from workbench.connect import connect
from workbench.errors import DataError, SetupError

if TYPE_CHECKING:
    from openai import OpenAI

    from workbench.project import Project

app = typer.Typer(
    cls=OneSentence,
    help="Fine-tune a language model and know that it is better.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
service = typer.Typer(help="The local service, which trains and serves models here.", no_args_is_help=True)
data.add_to(app)
decide.add_decision_commands(app)
decide.add_catalog_commands(app)
jobs.add_to(app)
evaluate.add_curve_commands(app)
evaluate.add_evaluation_commands(app)
app.add_typer(service, name="service")

Port = Annotated[int | None, typer.Option(help="The port to listen on; else a free one.")]


@app.command(cls=Pairs)
def run(
    parameter: Annotated[
        list[str] | None,
        typer.Option(
            "--parameter", "-p", metavar="NAME VALUE", help="Set a notebooks' parameter; repeat for more."
        ),
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--file", "-f", help="Take parameters from a YAML or JSON file.")
    ] = None,
    only: Annotated[str, typer.Option(metavar="01,04", help="Run these notebooks alone.")] = "",
    as_json: AsJson = False,
) -> None:
    """Execute the notebooks in order, and print the base model beside the tuned one."""
    os.environ.setdefault("WORKBENCH_HEADLESS", "1")
    parameters = {"PROJECT": "gql"} | runner.read_parameters(
        [_pair(words) for words in parameter or ()], file
    )
    plans = runner.plan(parameters, only=[start.strip() for start in only.split(",") if start.strip()])
    project, client = _ready(parameters)
    folder = project.path / "runs" / datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    folder.mkdir(parents=True)
    typer.echo(f"Executed notebooks are kept in {folder}", err=True)
    runs = {planned.name: runner.Run(planned.name, folder / planned.notebook.name) for planned in plans}
    try:
        for done in runner.execute(plans, folder):
            runs[done.name] = done
            typer.echo(f"{done.name:<20} {done.status:<10} {done.seconds:6.1f} s", err=True)
    except KeyboardInterrupt:
        typer.echo(_goes_on(project, client), err=True)
        raise typer.Exit(130) from None
    summary = runner.summarize(project, runs.values(), folder)
    project.save(f"runs/{folder.name}/summary.json", json.dumps(summary.facts, indent=2))
    typer.echo(json.dumps(summary.facts) if as_json else str(summary))
    for failed in (run for run in summary.runs if run.error is not None):
        typer.echo(f"{failed.name} failed in {failed.error}", err=True)
        typer.echo(f"Open it: python -m workbench lab {failed.path}", err=True)
        raise typer.Exit(1)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def lab(context: typer.Context) -> None:
    """Open JupyterLab on the notebooks, or on a PATH; further options are JupyterLab's own."""
    given = [word for word in context.args if not word.startswith("-") and Path(word).exists()]
    path = Path(given[0]) if given else runner.NOTEBOOKS / "00_start_here.ipynb"
    path = path.resolve()
    options = [word for word in context.args if word not in given[:1]]
    folder = path if path.is_dir() else path.parent
    command = [sys.executable, "-m", "jupyterlab", *([] if path.is_dir() else [str(path)])]
    command += [f"--ServerApp.root_dir={folder}", *_quiet_kernels(), *options]
    if os.name == "nt":
        raise typer.Exit(subprocess.call(command))
    os.execv(sys.executable, command)  # in our place, so that Ctrl-C and signals are JupyterLab's own


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
    """Tell whether the local service runs, and where; exit code 1 when it does not."""
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


def _pair(words: str) -> tuple[str, str]:
    name, space, value = words.partition(" ")
    if not name or not space:
        raise DataError("-p takes a name and a value, like -p MODEL nano.")
    return name, value


def _ready(parameters: Mapping[str, runner.Value]) -> tuple["Project", "OpenAI"]:
    """Open the project and the connection once before any notebook, so that what is missing shows at once."""
    from workbench.project import open_project
    from workbench.selftest import self_test

    project = open_project(str(parameters["PROJECT"]))
    client = connect(str(parameters["PROVIDER"]) if parameters.get("PROVIDER") else None)
    test = self_test(client)
    if not test.ok:
        raise SetupError(test.sentence)
    return project, client


def _goes_on(project: "Project", client: "OpenAI") -> str:
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


if __name__ == "__main__":
    app(prog_name="python -m workbench")
