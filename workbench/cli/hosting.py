"""A connection and a tuned model at work, in a shell: does it work, files, watching, costs, cleaning up."""

import json
from pathlib import Path
from typing import Annotated

import typer

from workbench.cli import AsJson
from workbench.connect import connect
from workbench.export import Form, Weights
from workbench.project import open_project

Name = Annotated[str, typer.Option("--project", metavar="NAME", help="Whose record is read; else gql.")]
Service = Annotated[
    str | None, typer.Option("--provider", help="local, azure or openai; else the project's.")
]


def add_to(app: typer.Typer) -> None:
    """Offer these commands."""
    app.command()(check_connection)
    app.command()(export)
    app.command()(monitor)
    app.command()(costs)
    app.command()(cleanup)


def check_connection(
    provider: Annotated[
        str | None, typer.Option(help="local, azure or openai; else as connect() does.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say part by part what of a connection works: sign-in, training, roles, quota; exit code 1: not all."""
    from workbench.connection_check import check_connection

    found = check_connection(connect(provider))
    typer.echo(json.dumps(found.facts) if as_json else repr(found))
    raise typer.Exit(0 if found.ok else 1)


def monitor(
    project: Name = "gql",
    model: Annotated[
        str | None, typer.Option(help="A model or deployment; else the tuned model of 06_evaluate.")
    ] = None,
    rows: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="New questions with their right answers, to be scored."),
    ] = None,
    completions: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Conversations from use: whether they drift away.")
    ] = None,
    stored: Annotated[
        int,
        typer.Option(min=0, metavar="N", help="The newest N that the service stored, in place of a file."),
    ] = 0,
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="The most requests to the model.")] = 500,
    provider: Service = None,
    as_json: AsJson = False,
) -> None:
    """Ask the locked test again, score new rows, look for drift, prices and dates; exit code 1: an alarm.

    Exit code 0: nothing needs you. A run without any change raises an alarm at most 5 times in 100. Each run
    is kept in the project's record. How many requests it sends is said before.
    """
    from workbench.monitor import plan_monitoring, watch

    opened = open_project(project)
    client = connect(provider or opened.stated("provider"))
    plan = plan_monitoring(
        client, opened, model=model, rows=rows, completions=completions, stored=stored, limit=limit
    )
    typer.echo(repr(plan), err=True)
    found = watch(client, plan)
    typer.echo(json.dumps(found.facts) if as_json else repr(found))
    raise typer.Exit(1 if found.alarms else 0)


def costs(project: Name = "gql", provider: Service = None, as_json: AsJson = False) -> None:
    """Show what a project has cost, goes on costing, and what ends when; exit code 1 with an alarm."""
    from workbench.costs import ledger

    opened = open_project(project)
    found = ledger(connect(provider or opened.stated("provider")), opened)
    typer.echo(json.dumps(found.facts) if as_json else repr(found))
    raise typer.Exit(1 if found.alarms else 0)


def cleanup(
    project: Name = "gql",
    provider: Service = None,
    yes: Annotated[bool, typer.Option("--yes", help="Remove without asking.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the deployments that a project has made, ask, and remove them; their models stay."""
    from workbench.deploy import deployments, remove

    opened = open_project(project)
    client = connect(provider or opened.stated("provider"))
    there = deployments(client, opened)
    for one in there:
        hour = "no known price" if one.hosting_hour is None else f"${one.hosting_hour:,.2f} an hour"
        typer.echo(f"{one.name}  {one.sku}  {hour}  {one.model}", err=True)
    names = [one.name for one in there]
    agreed = bool(names) and (yes or typer.confirm(f"Remove these {len(names)}?", err=True))
    removed = [name for name in names if agreed and remove(client, name, project=opened)]
    if as_json:
        typer.echo(json.dumps({"deployments": names, "removed": removed}))
    elif not names:
        typer.echo(f"Project {project} has no deployments.")
    else:
        typer.echo(f"Removed: {', '.join(removed)}" if removed else "Nothing was removed.")


def export(
    out: Annotated[Path, typer.Argument(metavar="FOLDER", help="A new folder for the files.")],
    model: Annotated[
        str | None, typer.Option(help="A tuned model or checkpoint; else the project's that was judged last.")
    ] = None,
    project: Annotated[
        str, typer.Option("--project", metavar="NAME", help="Whose model, scores and test.")
    ] = "gql",
    to: Annotated[
        Form, typer.Option(help="hf: for transformers and vLLM; gguf: for Ollama and llama.cpp; or adapter.")
    ] = "hf",
    weights: Annotated[Weights, typer.Option(help="The type of the weights; q8_0 only as gguf.")] = "f16",
    compare: Annotated[
        int, typer.Option(min=0, help="Ask so many questions of the test again; 0 asks none.")
    ] = 20,
    as_json: AsJson = False,
) -> None:
    """Write a tuned model of the local service as files for other programs, and compare its answers."""
    from workbench.export import export_model

    opened = open_project(project)
    done = export_model(connect("local"), out, model, project=opened, to=to, weights=weights, compare=compare)
    if as_json:
        typer.echo(json.dumps(done.facts, ensure_ascii=False))
        return
    typer.echo(done.verdict)
    for what, command in done.commands.items():
        typer.echo(f"  {what}: {command}")
