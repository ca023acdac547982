"""Who says so, and when: nothing stands in the catalogue without it, nor anything that contradicts it.

The facts stand in TOML files beside this module; ``sources.toml`` lists whom they quote.
"""

import datetime
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
FRESH = datetime.timedelta(days=90)  # prices and limits of this trade seldom stay longer

DESCRIBED = {"use_attribute_docstrings": True}
"""For pydantic: what stands below a field describes it in the schema of the JSON, too."""


@dataclass(frozen=True)
class Source:
    """A document, and its day."""

    __pydantic_config__ = DESCRIBED

    title: str
    date: datetime.date
    """The document's own date, or the day it was read where it bears none."""
    url: str = ""
    """Its address; every source that comes with the workbench has one."""

    def is_stale(self, on: datetime.date) -> bool:
        """Whether it is more than 90 days old on that day: look again before money depends on it."""
        return on - self.date > FRESH

    def __str__(self) -> str:
        """``Microsoft Learn, cost management (2026-03-19)``."""
        return f"{self.title} ({self.date})"


@dataclass(frozen=True)
class Conflict:
    """What another source says of the same fact."""

    __pydantic_config__ = DESCRIBED

    fact: str
    says: str | int | datetime.date
    source: Source

    def __str__(self) -> str:
        """``training ends: 2027-05-19, says Microsoft Learn, model retirement schedule (2026-10-05)``."""
        return f"{self.fact.replace('_', ' ')}: {self.says}, says {self.source}"


@dataclass(frozen=True)
class Remark:
    """What else a person should know."""

    __pydantic_config__ = DESCRIBED

    text: str
    source: Source


def as_of(source: Source, on: datetime.date) -> str:
    """The source; one older than 90 days on that day says so."""
    return f"{source}: older than 90 days, look again" if source.is_stale(on) else str(source)


def facts_in(name: str) -> dict[str, Any]:
    """What the file of this name says: ``lifecycle``."""
    return tomllib.loads((HERE / f"{name}.toml").read_text(encoding="utf-8"))


@lru_cache(maxsize=1)
def sources() -> Mapping[str, Source]:
    """Who is quoted, by the keys of ``sources.toml``."""
    return {key: Source(**said) for key, said in facts_in("sources")["source"].items()}


def source(key: str) -> Source:
    """Who stands behind this key of ``sources.toml``."""
    return sources()[key]
