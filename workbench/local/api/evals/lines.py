"""The lines of an eval's file, held against its schema; and the conversation that a line becomes.

A file has a JSON object a line, ``{"item": {…}}``, and with an answer to grade also
``{"sample": {"output_text": …}}``. What is wrong is told with the line's number.
"""

import json
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from pydantic_core import from_json

from workbench.dataset.templates import filled, places, value_at
from workbench.errors import DataError
from workbench.evaluation.graders import Limits
from workbench.evaluation.graders.python import run_python
from workbench.local.api.evals.asked import ItemReference, Template
from workbench.local.storage.rows import JSON

Place = str
AT_ONCE = 500  # lines
CHECK = Path(__file__).with_name("item_schema.py").read_text(encoding="utf-8")
LIMITS = Limits(seconds=5.0, memory=1024**3)  # for so many lines


def read_lines(path: Path, filename: str) -> Iterator[tuple[Place, dict[str, JSON]]]:
    """Each line with its place (``items.jsonl line 3``); blank ones are passed over."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{filename} is not UTF-8 text (byte {error.start:,}); save it as UTF-8.") from None
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        place = f"{filename} line {number}"
        try:
            value = from_json(line, allow_inf_nan=False)
        except ValueError as error:
            raise DataError(f"{place} is not JSON: {error}.") from None
        if not isinstance(value, dict) or not isinstance(value.get("item"), dict):
            raise DataError(f'{place} has no "item" with an object in it; write {{"item": {{…}}}}.')
        yield place, value


def check_lines(
    lines: Iterator[tuple[Place, dict[str, JSON]]], schema: Mapping[str, JSON], *, answered: bool
) -> Iterator[dict[str, JSON]]:
    """The same lines; raises ``DataError`` at the first that breaks the schema of items or has no answer."""
    while batch := [*islice(lines, AT_ONCE)]:
        broken = _first_broken([line["item"] for _, line in batch], schema)
        if broken:
            place = batch[broken.number][0]
            raise DataError(f"{place}: item{broken.path} breaks the eval's item_schema: {broken.words}.")
        for place, line in batch:
            sample = line.get("sample")
            if answered and not (isinstance(sample, dict) and isinstance(sample.get("output_text"), str)):
                raise DataError(
                    f'{place} has no answer; write "sample": {{"output_text": …}}, or ask a model.'
                )
            yield line


def check_schema(schema: Mapping[str, JSON]) -> None:
    """Raise ``DataError`` when this is no JSON Schema of an object."""
    broken = _first_broken([], schema)
    if broken:
        raise DataError(f"data_source_config.item_schema{broken.path} is no JSON Schema: {broken.words}.")


class _Broken(NamedTuple):
    number: int
    path: str
    words: str


def _first_broken(items: list[JSON], schema: Mapping[str, JSON]) -> _Broken | None:
    """The first item that breaks the schema, if any; without items, what is wrong with the schema itself."""
    ran = run_python(CHECK, "", {"schema": schema, "items": items}, LIMITS)
    if ran.problem:
        raise DataError(
            "The lines cannot be held against data_source_config.item_schema: "
            f"the check {ran.problem.removeprefix('it ')}. Make the schema simpler."
        )
    path, _, words = ran.reason.partition("\n")
    return None if ran.score == -1 else _Broken(int(ran.score), path, words)


def messages_for(asked: Template | ItemReference, item: Mapping[str, JSON]) -> list[JSON]:
    """The conversation to answer; raises ``DataError`` when the item lacks what it needs."""
    values = {"item": item}
    if isinstance(asked, ItemReference):
        messages = value_at(tuple(asked.item_reference.split(".")), values)
        if not isinstance(messages, list):
            raise DataError(f"{asked.item_reference} is no list of messages.")
        return messages
    return [{"role": message.role, "content": _filled(message.content, values)} for message in asked.template]


def _filled(text: str, values: Mapping[str, object]) -> str:
    found = {place.shown: value_at(place.path, values) if place.path else None for place in places(text)}
    lacking = [shown for shown, value in found.items() if value is None]
    if lacking:
        raise DataError(f"input_messages: {lacking[0]} finds nothing in the item.")
    return filled(text, lambda shown: _written(found[shown]))


def _written(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
