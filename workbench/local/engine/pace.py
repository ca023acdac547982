"""How many threads a training step takes: all cores, or fewer while others keep them busy.

Threads that share a core with somebody else hold each other up at every matrix product: beside a
busy neighbour two were 0.6 to 0.8 times as fast as one, alone 1.5 times (two cores, SmolLM2). So now
and then a step is tried with half or twice as many, and the faster number stays. What is learnt does
not depend on it, bit for bit.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

FIRST_TRIAL, TRIAL_INTERVAL = 4, 16  # steps; on two quiet cores the trials cost 2 % of the time
NEWEST_SHARE = 0.3  # of the running mean that a trial is compared with


class Pace:
    """The number of threads, found by trying; between 1 and as many as torch has at the start."""

    def __init__(self) -> None:
        """Begin with all."""
        self._most = self._threads = torch.get_num_threads()
        self._seconds: float | None = None  # per token, the running mean with the present number
        self._steps = self._trials = 0

    @contextmanager
    def step(self, tokens: int) -> Iterator[None]:
        """Give the work inside, on ``tokens`` tokens, its threads, and learn from how long it takes."""
        self._steps += 1
        trial = self._trial()
        torch.set_num_threads(trial or self._threads)
        begin = time.perf_counter()
        yield
        taken = (time.perf_counter() - begin) / tokens
        if trial is None:
            known = taken if self._seconds is None else self._seconds
            self._seconds = (1 - NEWEST_SHARE) * known + NEWEST_SHARE * taken
        elif self._seconds is None or taken < self._seconds:
            self._threads, self._seconds = trial, taken
        torch.set_num_threads(self._threads)

    def _trial(self) -> int | None:
        """Another number to try at this step: half as many, the next time twice as many."""
        if self._steps % TRIAL_INTERVAL != FIRST_TRIAL:
            return None
        self._trials += 1
        other = self._threads // 2 if self._trials % 2 else self._threads * 2
        return other if 1 <= other <= self._most else None
