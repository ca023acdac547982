"""Faults on purpose: what may go wrong at a service, so that one can rehearse what one does then.

None is active unless somebody asks for it: for one request by the header ``x-workbench-fault``
(``slow=3, rate-limit``), for a whole service by ``--fault NAME[=VALUE]``.
"""

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple, TypeAlias

from workbench.errors import SetupError

HEADER = "x-workbench-fault"

Faults: TypeAlias = Mapping[str, str]
"""The faults asked for, each with its value."""


class Known(NamedTuple):
    """One fault: the value when none is given, the form of its values, and what happens."""

    unless_given: str
    form: str
    meaning: str


_TURNS, _SECONDS, _HARMS = (
    r"once|[1-9][0-9]{0,5}",
    r"[0-9]{1,6}(\.[0-9]{1,6})?",
    r"\w[\w ]{0,39}(\+\w[\w ]{0,39}){0,9}",
)

KNOWN: Mapping[str, Known] = MappingProxyType(
    {
        "data-check": Known(
            "hate_fairness+self_harm+violence", _HARMS,
            "a job created now fails the safety check of its data, for the harm types joined by +",
        ),
        "model-check": Known(
            "Violence+Self Harm", _HARMS,
            "a job created now gives a model that fails its safety check; none can be deployed",
        ),
        "quota": Known("", "", "no quota is left: no job is taken on, nothing can be deployed"),
        "rate-limit": Known(
            "2", _TURNS,
            "the first of every N requests is refused (429, Retry-After: 1); N, or the first only: once",
        ),
        "server-error": Known(
            "2", _TURNS, "the first of every N requests fails (500); N, or the first only: once"
        ),
        "slow": Known("5", _SECONDS, "every answer begins so many seconds late"),
        "not-ready": Known(
            "60", _SECONDS, "a deployment says DeploymentNotReady for so many seconds after it succeeded"
        ),
        "capacity": Known(
            "", "", "a deployment answers as many requests a minute as its capacity, then 429"
        ),
    }
)  # fmt: skip
NONE: Faults = MappingProxyType({})


def read_faults(texts: Iterable[str]) -> Faults:
    """Read ``NAME`` or ``NAME=VALUE``; raises ``SetupError`` with the faults there are."""
    found: dict[str, str] = {}
    for text in texts:
        name, given, value = (part.strip() for part in text.partition("="))
        if name not in KNOWN:
            raise SetupError(f"There is no fault {name[:40]!r}; there are {', '.join(KNOWN)}.")
        known = KNOWN[name]
        if given and not (known.form and re.fullmatch(known.form, value)):
            example = f", such as {name}={known.unless_given}" if known.form else f"; write {name} alone"
            raise SetupError(f"The fault {name} takes no value {value[:40]!r}{example}.")
        found[name] = value if given else known.unless_given
    return MappingProxyType(found)


def harms(faults: Faults, name: str) -> tuple[str, ...]:
    """The harm types that a check is to find; none when it is not to fail."""
    return tuple(faults[name].split("+")) if name in faults else ()


def seconds(faults: Faults, name: str) -> float:
    """The seconds that a fault lasts; 0 when nobody asked for it."""
    return float(faults.get(name, "0"))


def described() -> str:
    """All faults for ``--help``, a line each."""
    return "\n".join(
        f"  {name}{f'[={known.unless_given}]' if known.form else ''}: {known.meaning}"
        for name, known in KNOWN.items()
    )
