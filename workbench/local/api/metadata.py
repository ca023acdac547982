"""Metadata: up to 16 pairs of words that a client may hang on jobs and answers, to find them by."""

import re
from typing import Annotated, TypeAlias

from pydantic import AfterValidator
from starlette.requests import Request

from workbench.local.api.refusals import invalid

MOST = 16  # pairs


def _bounded(pairs: dict[str, str]) -> dict[str, str]:
    if len(pairs) > MOST:
        raise ValueError(f"at most {MOST} pairs; there are {len(pairs)}")
    if any(not 1 <= len(key) <= 64 or len(value) > 512 for key, value in pairs.items()):
        raise ValueError("keys have 1 to 64 characters, values at most 512")
    return pairs


Metadata: TypeAlias = Annotated[dict[str, str], AfterValidator(_bounded)]


def read_metadata(request: Request) -> dict[str, str]:
    """The pairs that a query asks for as ``metadata[key]=value``; raises ``Refusal`` for too many."""
    found = {}
    for name, value in request.query_params.multi_items():
        if match := re.fullmatch(r"metadata\[(.*)\]", name):
            found[match[1]] = value
    if len(found) > MOST:
        raise invalid(
            f"A query asks for at most {MOST} pairs of metadata; this one has {len(found)}.", "metadata"
        )
    return found
