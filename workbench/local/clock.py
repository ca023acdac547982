"""The service's time: how long things take here, where a day may pass in a minute.

Moments are the machine's own, in seconds since 1970, so that nothing is ever dated into the future;
what runs faster is how long a moment lies back and how long something takes. A clock that runs
twice as fast brings everything that waits twice as near its end, also what began before it.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from workbench.errors import SetupError

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
            raise SetupError(
                f"A clock runs more than 0 and at most {FASTEST:.0e} times as fast as the machine's."
            )

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
