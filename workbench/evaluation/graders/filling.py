"""The templates of a grader, filled from the item and from what the model said."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from workbench.dataset.templates import Place, filled, places, value_at
from workbench.evaluation.graders.sandboxed import READABLE, sample_of

_MANY = 512  # texts of graders that are kept taken apart


class UnfilledError(ValueError):
    """A template finds nothing in the item."""


class UnsaidError(ValueError):
    """A template finds nothing in the answer, which is not the JSON that it should be."""


@dataclass(frozen=True)
class Case:
    """One answer with its item, as templates see them."""

    output_text: str
    item: Mapping[str, object]
    values: Mapping[str, object]

    @classmethod
    def of(cls, output_text: str, item: Mapping[str, object]) -> "Case":
        """Put both together."""
        return cls(output_text, item, {"item": item, "sample": sample_of(output_text)})

    def fill(self, text: str) -> str:
        """Fill every template of ``text``, once: what is filled in is not read again.

        Raises ``UnfilledError`` for an item without the field, ``UnsaidError`` for an answer without it.
        """
        found: dict[str, str] = {}
        for shown, path in known_places(text):
            value = value_at(path, self.values)
            if value is None and path[0] == "item":
                raise UnfilledError(unfilled(shown, self.item))
            if value is None:
                raise UnsaidError(f"{shown} finds nothing in the answer")
            found[shown] = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        return filled(text, found.__getitem__) if found else text


@lru_cache(maxsize=_MANY)
def known_places(text: str) -> tuple[Place, ...]:
    """The templates of a text."""
    return places(text)


def misplaced(place: Place) -> str:
    """What is wrong with a template, whatever the items hold; empty when nothing is."""
    if not place.path:
        return (
            f"{place.shown}; write {{{{item.field}}}} or {{{{sample.output_text}}}}, deeper fields with dots"
        )
    if place.path[0] == "sample" and place.path[1] not in READABLE:
        return f"{place.shown}; a sample has {', '.join(READABLE)}"
    if place.path[0] == "sample" and len(place.path) > 2 and place.path[1] != "output_json":
        return f"{place.shown}; only output_json has named fields below it"
    return ""


def unfilled(shown: str, item: Mapping[str, object]) -> str:
    """That a template finds nothing in this item, with what the item has."""
    return f"{shown} finds nothing in item {name_of(item)}; it has {', '.join(map(str, item)) or 'no fields'}"


def name_of(item: Mapping[str, object]) -> str:
    """Where the item comes from, as its reader knows it."""
    return str(item.get("origin") or item.get("question") or "without a name")
