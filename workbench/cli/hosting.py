"""Costs and cleaning up in a shell: the ledger of a project, and removing what it deployed."""

import json
from typing import Annotated

import typer

from workbench.cli import AsJson
from workbench.connect import connect
from workbench.project import open_project

Name = Annotated[str, typer.Option("--project", metavar="NAME", help="Whose record is read; else gql.")]
Service = Annotated[
    str | None, typer.Option("--provider", help="local, azure or openai; else the project's.")
]


def add_to(app: typer.Typer) -> None:
    """Offer these commands."""
    app.command()(costs)
    app.command()(cleanup)


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
