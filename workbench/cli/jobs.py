"""Fine-tuning jobs in a shell: list, show, follow, pause, resume and cancel them.

``follow`` ends with how the jobs ended: 0 all succeeded, 1 one failed, 3 one was cancelled; 2 comes with a
sentence: something cannot be done. Ctrl-C (130) stops the following and never a job.
"""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Annotated

import typer

from workbench.cli import AsJson, ProviderName
from workbench.connect import connect
from workbench.display import columns
from workbench.errors import SetupError
from workbench.project import existing_project, projects

if TYPE_CHECKING:
    from openai.types.fine_tuning import FineTuningJob

    from workbench.training.alerts import Alert
    from workbench.training.follow import Progress, Verb

FAILED, CANCELLED, INTERRUPTED = 1, 3, 130
LAST_EVENTS = 5

Job = Annotated[str, typer.Argument(help="The job's id, like ftjob-…")]

jobs = typer.Typer(help="Fine-tuning jobs.", no_args_is_help=True)


def add_to(app: typer.Typer) -> None:
    """Offer these commands."""
    app.add_typer(jobs, name="jobs")


@jobs.command("list")
def list_jobs(
    provider: ProviderName = None,
    limit: Annotated[int, typer.Option(min=1, help="So many at most, the newest first.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List the jobs of the service, the newest first, each with the project that started it."""
    client = connect(provider)
    found = list(islice(client.fine_tuning.jobs.list(limit=min(limit, 100)), limit))
    of = {id: (each.name, run) for each in projects() for id, run in each.run_names.items()}
    if as_json:
        owners = [dict(zip(("project", "run"), of.get(job.id, (None, None)), strict=True)) for job in found]
        facts = [{**_facts(job), **owner} for job, owner in zip(found, owners, strict=True)]
        typer.echo(json.dumps({"jobs": facts}))
        return
    header = ("job", "status", "started (UTC)", "project", "run", "base model", "tuned model")
    rows = [
        (
            *(job.id, job.status, _when(job.created_at), *of.get(job.id, ("", ""))),
            *(job.model, job.fine_tuned_model or ""),
        )
        for job in found
    ]
    typer.echo(columns(header, rows) if rows else "There are no jobs yet.")


@jobs.command()
def show(job: Job, provider: ProviderName = None, as_json: AsJson = False) -> None:
    """Show how a job stands: its curve, its last events, and what can be done to it."""
    from workbench.training.alerts import alerts_now
    from workbench.training.follow import choices, follow

    client = connect(provider)
    now = next(follow(client, job))
    can, found = choices(client, now.job), alerts_now(now)
    if as_json:
        facts = {
            **_facts(now.job),
            **_standing(now),
            "alerts": [alert.facts for alert in found],
            "choices": [choice._asdict() for choice in can.all],
        }
        typer.echo(json.dumps(facts))
        return
    events = [f"{_when(event.created_at)}  {event.message}" for event in now.events[-LAST_EVENTS:]]
    typer.echo("\n".join([repr(now), *events, *(f"Alert: {alert}" for alert in found), repr(can)]))


@jobs.command()
def follow(
    ids: Annotated[list[str], typer.Argument(metavar="JOB…", help="One or more ids, like ftjob-…")],
    provider: ProviderName = None,
    poll: Annotated[float, typer.Option(min=0, help="Seconds between two requests.")] = 1.0,
    patience: Annotated[float, typer.Option(min=0, help="Seconds without any answer to put up with.")] = 60.0,
    webhook: Annotated[
        str | None, typer.Option(metavar="URL", help="Post each alert there, as JSON.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Watch jobs until they have ended; progress and alerts come on stderr."""
    from workbench.training.alerts import address, alerts
    from workbench.training.follow import follow_all

    to = None if webhook is None else address(webhook)
    ended: dict[str, Progress] = {}
    progress = follow_all(connect(provider), ids, poll_seconds=poll, patience_seconds=patience)
    raised: list[Alert] = []
    try:
        for alert in alerts(_shown(progress, ended)):
            typer.echo(f"Alert: {alert}", err=True)
            raised.append(alert)
            if to is not None:
                _post(alert, to)
    except KeyboardInterrupt:
        typer.echo(f"No longer followed; the jobs go on: {', '.join(ids)}", err=True)
        raise typer.Exit(INTERRUPTED) from None
    if as_json:
        facts = [{**_facts(now.job), **_standing(now)} for now in ended.values()]
        typer.echo(json.dumps({"jobs": facts, "alerts": [alert.facts for alert in raised]}))
    else:
        typer.echo("\n".join(repr(now) for now in ended.values()))
    statuses = {now.job.status for now in ended.values()}
    raise typer.Exit(FAILED if "failed" in statuses else CANCELLED if "cancelled" in statuses else 0)


@jobs.command("lineage")
def show_lineage(
    model: Annotated[
        str | None, typer.Argument(help="A model, or a job's id; else all of the project.")
    ] = None,
    project: Annotated[
        str, typer.Option("--project", metavar="NAME", help="Whose record is read; else the sample's.")
    ] = "gql",
    provider: Annotated[
        str | None, typer.Option(help="Ask this service as well; it is asked anyway where the record ends.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show which model was made from which: each training back to the base model, with its scores."""
    from workbench.training.lineage import lineage

    opened = existing_project(project)
    found = None if provider else lineage(opened, model=model)
    if found is None or found.missing:
        found = lineage(opened, connect(provider or opened.stated("provider")), model=model)
    typer.echo(json.dumps(found.facts) if as_json else repr(found))


def _add_control(verb: "Verb", meaning: str) -> None:
    """Offer a command that does one thing to a job, and says what it costs."""

    def control(job: Job, provider: ProviderName = None, as_json: AsJson = False) -> None:
        from workbench.training.follow import change_job, choices

        client = connect(provider)
        before = choices(client, client.fine_tuning.jobs.retrieve(job))
        costs = next(choice.costs for choice in before.all if choice.verb == verb)
        done = change_job(client, job, verb)
        facts = json.dumps({**_facts(done), "costs": costs})
        typer.echo(facts if as_json else f"{done.id} is {done.status}.\nIt costs {costs}.")

    jobs.command(verb, help=meaning)(control)


_add_control("pause", "Let a running job rest; it keeps its place.")
_add_control("resume", "Let a paused job go on.")
_add_control("cancel", "Cancel a job for good; its checkpoints stay.")


def _shown(progress: "Iterator[Progress]", ended: "dict[str, Progress]") -> "Iterator[Progress]":
    """Pass on what comes, and write each new state and step; what has ended is kept."""
    for now in progress:
        typer.echo(f"{now.job.id}: {now.job.status}, step {now.curve.steps}", err=True)
        if now.ended:
            ended[now.job.id] = now
        yield now


def _post(alert: "Alert", to: str) -> None:
    """Post it; an address that does not answer ends no watch."""
    from workbench.training.alerts import post

    try:
        post(alert, to)
    except SetupError as error:
        typer.echo(str(error), err=True)


def _facts(job: "FineTuningJob") -> dict[str, object]:
    names = ("id", "status", "model", "fine_tuned_model", "created_at", "finished_at", "trained_tokens")
    facts = {name: getattr(job, name) for name in names}
    return {**facts, "error": job.error.message if job.error else None}


def _standing(now: "Progress") -> dict[str, object]:
    return {"step": now.curve.steps, "final": now.curve.final, "events": len(now.events)}


def _when(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M")
