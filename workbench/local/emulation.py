"""How closely the service emulates Azure: its clock, its quotas, and the faults injected on purpose."""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import NamedTuple, TypeAlias

from workbench.catalog.limits import Limits, of_provider
from workbench.errors import SetupError

# The service's time: how long things take here, where a day may pass in a minute.
#
# Moments are the machine's own, in seconds since 1970, so that nothing is ever dated into the future;
# what runs faster is how long a moment lies back and how long something takes. A clock that runs
# twice as fast brings everything that waits twice as near its end, also what began before it.

DAY = 86_400.0  # seconds
FASTEST = 1e9


@dataclass(frozen=True)
class Clock:
    """A clock that runs ``factor`` times as fast as the machine's; the two functions are for tests."""

    factor: float = 1.0
    read: Callable[[], float] = time.time
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep

    def __post_init__(self) -> None:
        """Raise ``SetupError`` when the factor is not one."""
        if not 0 < self.factor <= FASTEST:
            raise SetupError(f"A clock runs more than 0 and at most {FASTEST:.0e} times as fast as usual.")

    def now(self) -> float:
        """This moment."""
        return self.read()

    def since(self, moment: float) -> float:
        """Seconds of the service that have passed since a moment."""
        return (self.read() - moment) * self.factor

    def takes(self, seconds: float) -> float:
        """Seconds of the machine in which so many of the service pass."""
        return seconds / self.factor

    def ends(self, began: float, seconds: float) -> float:
        """The moment at which something that takes so many seconds of the service is over."""
        return began + self.takes(seconds)

    async def wait(self, seconds: float) -> None:
        """Let so many seconds of the service pass."""
        await self.pause(self.takes(seconds))


# Fault injection: what may go wrong at a service, switched on by hand to test how a client takes it.
#
# None is active unless somebody asks for it: for one request by the header ``x-workbench-fault``
# (``slow=3, rate-limit``), for a whole service by ``--fault NAME[=VALUE]``.

HEADER = "x-workbench-fault"

Faults: TypeAlias = Mapping[str, str]
"""The faults asked for, each with its value."""


class Fault(NamedTuple):
    """One fault: the value when none is given, the form of its values, and what happens."""

    unless_given: str
    form: str
    meaning: str


_TURNS, _SECONDS = r"once|[1-9][0-9]{0,5}", r"[0-9]{1,6}(\.[0-9]{1,6})?"
_HARMS, _ALL_DATA = r"\w[\w ]{0,39}(\+\w[\w ]{0,39}){0,9}", "hate_fairness+self_harm+violence"

KNOWN: Mapping[str, Fault] = MappingProxyType(
    {
        "data-check": Fault(_ALL_DATA, _HARMS, "a new job fails the check of its data, for these harms"),
        "model-check": Fault("Violence+Self Harm", _HARMS, "a new job gives a model that cannot be deployed"),
        "quota": Fault("", "", "no quota is left: no job is taken on, nothing can be deployed"),
        "role": Fault("", "", "whoever asks may train, but not deploy, resize or remove (403)"),
        "rate-limit": Fault("2", _TURNS, "the first of every N requests is refused (429); or one: once"),
        "server-error": Fault("2", _TURNS, "the first of every N requests fails (500); or one: once"),
        "slow": Fault("5", _SECONDS, "every answer begins so many seconds late"),
        "not-ready": Fault("60", _SECONDS, "a deployment is not ready so many seconds after success"),
        "capacity": Fault("", "", "a deployment answers as many requests a minute as its capacity, then 429"),
    }
)
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


# How much one service takes on at a time: jobs in training and in the queue, files, and for how long.

QUOTAS = ("local", "azure", "off")


def quota_name(text: str) -> str:
    """Read the name of a quota; raises ``SetupError`` when there is none of this name."""
    if text not in QUOTAS:
        raise SetupError(f"There is no quota {text!r}; it is one of {', '.join(QUOTAS)}.")
    return text


# How closely one service emulates Azure: chosen when it is started, and never changed while it runs.


@dataclass(frozen=True)
class Emulation:
    """How one service emulates Azure; the defaults are for everyday use, without limits of Azure's."""

    quota: str = "local"  # of ``QUOTAS``
    strict: bool = False  # a model answers only when it is deployed, as on Azure
    clock: Clock = field(default_factory=Clock)
    faults: Faults = field(default_factory=lambda: NONE)

    @property
    def limits(self) -> Limits:
        """How much this service takes; all are those of ``catalog.limits``, but what is off."""
        if self.quota == "off":
            return replace(of_provider("local"), max_queued=None, max_files=None)
        return of_provider(self.quota)
