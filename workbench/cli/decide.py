"""Decision, payback, forecast and the catalogue in a shell: JSON in and out, ``--schema`` for its shape."""

import csv
import datetime
import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from workbench.cli import AsJson
from workbench.errors import DataError
from workbench.jsonl_log import read_text

# The decision in a shell: JSON in, JSON out; ``--schema`` prints what a file may hold.
#
# Exit code 2: what a file says cannot be, and a sentence names it.

Input = Annotated[Path | None, typer.Argument(help="The file to read; '-' is standard input.")]
Schema = Annotated[bool, typer.Option("--schema", help="Print the JSON Schema of the file, and end.")]


def add_to(app: typer.Typer) -> None:
    """Offer these commands."""
    app.command("decide")(decide_file)
    app.command("payback")(payback_file)
    app.command("forecast")(forecast_file)
    app.command("models")(show_models)


def decide_file(file: Input = None, schema: Schema = False, as_json: AsJson = False) -> None:
    """Should we fine-tune? Reads a situation (JSON)."""
    from workbench.decide.decision import decide
    from workbench.decide.situation import Situation, schema_of, situation

    if schema:
        typer.echo(json.dumps(schema_of(Situation), indent=2))
        return
    decision = decide(situation(_object_in(file)))
    typer.echo(json.dumps(decision.facts) if as_json else decision.brief, nl=as_json)


def payback_file(file: Input = None, schema: Schema = False, as_json: AsJson = False) -> None:
    """Does it pay? Reads a case (JSON): a base, other ways, prices and requests."""
    from workbench.decide import payback

    if schema:
        typer.echo(json.dumps(payback.schema(), indent=2))
        return
    found = payback.payback(_object_in(file))
    typer.echo(json.dumps(found.facts) if as_json else repr(found))


def forecast_file(
    file: Input = None,
    smallest_gain: Annotated[float, typer.Option(help="The gain in score that would be worth it.")] = 0.02,
    schema: Schema = False,
    as_json: AsJson = False,
) -> None:
    """Would more data help? Reads runs (CSV): examples, score, items."""
    from workbench.decide.forecast import Point, forecast

    if schema:
        kinds = {"examples": "integer", "score": "number", "items": "integer"}
        columns = {name: {"type": kind} for name, kind in kinds.items()}
        described = {"title": "One row of the CSV", "type": "object", "properties": columns}
        typer.echo(json.dumps(described | {"required": list(columns)}, indent=2))
        return
    points = []
    rows = csv.DictReader(_text_in(file).splitlines())
    for row in rows:
        try:
            points.append(Point(int(row["examples"]), float(row["score"]), int(row["items"])))
        except (KeyError, TypeError, ValueError):
            raise DataError(
                f"{file} line {rows.line_num} is {dict(row)}; it should hold examples, score and items, "
                "like 100,0.62,200 under that header."
            ) from None
    found = forecast(points, smallest_gain=smallest_gain)
    typer.echo(json.dumps(found.facts) if as_json else repr(found))


def _text_in(file: Path | None) -> str:
    if file is None:
        raise DataError("Name the file to read, '-' for standard input, or ask for its --schema.")
    if str(file) == "-":
        return typer.get_text_stream("stdin").read()
    return read_text(file)


def _object_in(file: Path | None) -> dict[str, object]:
    found = _json_in(file)
    if not isinstance(found, dict):
        raise DataError(f"{file} should hold one JSON object.")
    return found


def _json_in(file: Path | None) -> object:
    try:
        return json.loads(_text_in(file))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{file} is not JSON: {error}.") from None


# The catalogue in a shell: which models fit, or all of one; ``--schema`` prints the shape of the JSON.
#
# Exit code 2: a filter or a file says what cannot be, and a sentence names what there is.


def show_models(
    name: Annotated[str | None, typer.Argument(help="One model: its card.")] = None,
    task: Annotated[str | None, typer.Option(help="chat-completion or text-generation.")] = None,
    method: Annotated[str | None, typer.Option(help="sft, dpo or rft.")] = None,
    region: Annotated[str | None, typer.Option(help="Trained there, like swedencentral.")] = None,
    service: Annotated[str | None, typer.Option(help="azure, openai or local.")] = None,
    training_type: Annotated[str | None, typer.Option(help="Like globalStandard.")] = None,
    on: Annotated[str | None, typer.Option(metavar="DATE", help="Still trainable that day.")] = None,
    vision: Annotated[
        bool | None, typer.Option("--vision/--text", help="Whether examples may hold images.")
    ] = None,
    new_customer: Annotated[bool, typer.Option(help="With --on: for who never had it deployed.")] = False,
    refresh: Annotated[
        str | None, typer.Option(metavar="PROVIDER", help="First ask this service for its models.")
    ] = None,
    arm: Annotated[
        Path | None,
        typer.Option(help="With --refresh: the models that Azure's Resource Manager lists (JSON)."),
    ] = None,
    refresh_prices: Annotated[
        bool, typer.Option("--refresh-prices", help="First ask Azure's public price list; needs no key.")
    ] = False,
    retired: Annotated[bool, typer.Option("--retired", help="List the retired ones as well.")] = False,
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the JSON Schema of --json, and end.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Which models can be tuned, how, where, until when, and at what price?"""
    from workbench import catalog
    from workbench.catalog.providers import runs_here
    from workbench.catalog.search import Catalogue, facts_schema

    if schema:
        typer.echo(json.dumps(facts_schema(), indent=2))
        return
    if refresh is not None:
        typer.echo(repr(_refreshed(refresh, arm)), err=True)
    elif arm is not None:
        raise DataError("--arm goes with --refresh azure.")
    if refresh_prices:
        typer.echo(repr(catalog.refresh_prices()), err=True)
    if name is not None:
        model = catalog.model(name)
        lines = (": ".join(part for part in row if part) for row in model.card(datetime.date.today()))
        found = Catalogue((model,))
        text = "\n".join([model.name, *lines])
    else:
        found = catalog.find(
            task=task,
            method=method,
            region=region,
            service=service,
            training_type=training_type,
            on=None if on is None else _day(on),
            vision=vision,
            existing_customer=False if new_customer else None,
        )
        kept = [model for model in found.models if retired or not model.retired]
        kept.sort(key=lambda model: (model.retired, not runs_here(model.service)))  # this machine's first
        left_out = len(found.models) - len(kept)
        text = repr(replace(found, models=tuple(kept)))
        text += f"\nLeft out: {left_out} retired; --retired lists them." if left_out else ""
    typer.echo(json.dumps(found.facts) if as_json else text)


def _refreshed(provider: str, arm: Path | None) -> object:
    from workbench import catalog
    from workbench.connect import connect

    return catalog.refresh(connect(provider), arm=None if arm is None else _json_in(arm))


def _day(text: str) -> datetime.date:
    try:
        return datetime.date.fromisoformat(text)
    except ValueError:
        raise DataError(f"--on is {text!r}; give a day like 2027-04-14.") from None
