"""Fine-tuning jobs in a shell: list, show, follow, pause, resume and cancel them.

``follow`` ends with how the jobs ended: 0 all succeeded, 1 one failed, 3 one was cancelled. 2 is said
in a sentence: something cannot be done. Ctrl-C (130) stops the following and never a job.
"""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Annotated

import typer

from workbench.cli.shell import AsJson
from workbench.connect import connect
from workbench.errors import SetupError

if TYPE_CHECKING:
    from openai.types.fine_tuning import FineTuningJob

    from workbench.training.alerts import Alert
    from workbench.training.control import Verb
    from workbench.training.follow import Progress

FAILED, CANCELLED, INTERRUPTED = 1, 3, 130
LAST_EVENTS = 5

Job = Annotated[str, typer.Argument(help="The job's id, like ftjob-…")]
Provider = Annotated[str | None, typer.Option(help="local, azure or openai; else WORKBENCH_PROVIDER.")]

jobs = typer.Typer(help="Fine-tuning jobs.", no_args_is_help=True)


def add_to(app: typer.Typer) -> None:
    """Offer these commands."""
    app.add_typer(jobs, name="jobs")


@jobs.command("list")
def list_jobs(
    provider: Provider = None,
    limit: Annotated[int, typer.Option(min=1, help="So many at most, the newest first.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List the jobs of the service, the newest first."""
    client = connect(provider)
    found = list(islice(client.fine_tuning.jobs.list(limit=min(limit, 100)), limit))
    lines = [f"{job.id}  {job.status:<10}  {_when(job.created_at)}  {job.model}" for job in found]
    typer.echo(
        json.dumps({"jobs": [_facts(job) for job in found]})
        if as_json
        else "\n".join(lines) or "There are no jobs yet."
    )


@jobs.command()
def show(job: Job, provider: Provider = None, as_json: AsJson = False) -> None:
    """Tell how a job stands: its curve, its last events, and what can be done to it."""
    from workbench.training.alerts import alerts_now
    from workbench.training.control import choices
    from workbench.training.follow import follow

    client = connect(provider)
    now = next(follow(client, job))
    can, told = choices(client, now.job), alerts_now(now)
    if as_json:
        facts = {
            **_facts(now.job),
            **_told(now),
            "alerts": [alert.facts for alert in told],
            "choices": [choice._asdict() for choice in can.all],
        }
        typer.echo(json.dumps(facts))
        return
    events = [f"{_when(event.created_at)}  {event.message}" for event in now.events[-LAST_EVENTS:]]
    typer.echo("\n".join([repr(now), *events, *(f"Alert: {alert}" for alert in told), repr(can)]))


@jobs.command()
def follow(
    ids: Annotated[list[str], typer.Argument(metavar="JOB…", help="One or more ids, like ftjob-…")],
    provider: Provider = None,
    poll: Annotated[float, typer.Option(min=0, help="Seconds between two looks.")] = 1.0,
    patience: Annotated[float, typer.Option(min=0, help="Seconds without any answer to put up with.")] = 60.0,
    webhook: Annotated[
        str | None, typer.Option(metavar="URL", help="Post each alert there, as JSON.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Watch jobs until they have ended; progress and alerts are told on stderr."""
    from workbench.training.alerts import address, alerts
    from workbench.training.follow import follow_all

    to = None if webhook is None else address(webhook)
    ended: dict[str, Progress] = {}
    looks = follow_all(connect(provider), ids, poll_seconds=poll, patience_seconds=patience)
    told: list[Alert] = []
    try:
        for alert in alerts(_said(looks, ended)):
            typer.echo(f"Alert: {alert}", err=True)
            told.append(alert)
            if to is not None:
                _post(alert, to)
    except KeyboardInterrupt:
        typer.echo(f"No longer followed; the jobs go on: {', '.join(ids)}", err=True)
        raise typer.Exit(INTERRUPTED) from None
    if as_json:
        facts = [{**_facts(now.job), **_told(now)} for now in ended.values()]
        typer.echo(json.dumps({"jobs": facts, "alerts": [alert.facts for alert in told]}))
    else:
        typer.echo("\n".join(repr(now) for now in ended.values()))
    statuses = {now.job.status for now in ended.values()}
    raise typer.Exit(FAILED if "failed" in statuses else CANCELLED if "cancelled" in statuses else 0)


@jobs.command()
def pause(job: Job, provider: Provider = None, as_json: AsJson = False) -> None:
    """Let a running job rest; it keeps its place."""
    _change("pause", job, provider, as_json)


@jobs.command()
def resume(job: Job, provider: Provider = None, as_json: AsJson = False) -> None:
    """Let a paused job go on."""
    _change("resume", job, provider, as_json)


@jobs.command()
def cancel(job: Job, provider: Provider = None, as_json: AsJson = False) -> None:
    """Cancel a job for good; its checkpoints stay."""
    _change("cancel", job, provider, as_json)


def _change(verb: "Verb", job: str, provider: str | None, as_json: bool) -> None:
    from workbench.training.control import change_job, choices

    client = connect(provider)
    before = choices(client, client.fine_tuning.jobs.retrieve(job))
    costs = next(choice.costs for choice in before.all if choice.verb == verb)
    done = change_job(client, job, verb)
    if as_json:
        typer.echo(json.dumps({**_facts(done), "costs": costs}))
    else:
        typer.echo(f"{done.id} is {done.status}.\nIt costs {costs}.")


def _said(looks: "Iterator[Progress]", ended: "dict[str, Progress]") -> "Iterator[Progress]":
    """Pass on what is seen, telling each new state and step; what has ended is kept."""
    for now in looks:
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
    return {
        "id": job.id,
        "status": job.status,
        "model": job.model,
        "fine_tuned_model": job.fine_tuned_model,
        "created_at": job.created_at,
        "finished_at": job.finished_at,
        "trained_tokens": job.trained_tokens,
        "error": job.error.message if job.error else None,
    }


def _told(now: "Progress") -> dict[str, object]:
    return {"step": now.curve.steps, "final": now.curve.final, "events": len(now.events)}


def _when(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M")
