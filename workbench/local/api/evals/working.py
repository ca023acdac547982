"""The runs that are under way: a few lines at a time, in the background, on and on until none waits.

Every result is on the disk before the next line is taken, and what a stopped service left is
taken up at its next start; a line that was being asked then is asked again.
"""

import asyncio
import logging
from collections.abc import Sequence
from typing import cast

from workbench.evaluation.graders import Grader
from workbench.local.api.evals.asked import Answers, Questions, read_data_source
from workbench.local.api.evals.examining import Examiner
from workbench.local.storage.eval_runs import Line
from workbench.local.storage.evals import Body
from workbench.local.storage.store import Store

AT_ONCE = 16  # lines; the worker answers requests that come together as one batch


class EvalWork:
    """All runs of one service."""

    def __init__(self, store: Store) -> None:
        """Start nothing yet."""
        self._store = store
        self._examiner: Examiner | None = None
        self._free = asyncio.Semaphore(AT_ONCE)
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def start(self, examiner: Examiner) -> None:
        """Go on with what is unfinished."""
        self._examiner = examiner
        for run_id in self._store.eval_runs.unfinished():
            self.begin(run_id)

    async def stop(self) -> None:
        """Leave what is unfinished to the next start."""
        tasks = [*self._tasks.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def begin(self, run_id: str) -> None:
        """Work on a run in the background."""
        task = asyncio.create_task(self._work(run_id))
        self._tasks[run_id] = task
        task.add_done_callback(lambda ended: self._note_end(run_id, ended))

    def end(self, run_id: str) -> None:
        """Stop working on a run that was cancelled or deleted."""
        if run_id in self._tasks:
            self._tasks[run_id].cancel()

    async def _work(self, run_id: str) -> None:
        run = self._store.eval_runs.set_status(run_id, "in_progress")
        if run is None:
            return
        source = read_data_source(cast(Body, run["data_source"]))
        criteria = self._store.evals.criteria(str(run["eval_id"]))
        while lines := self._store.eval_runs.waiting(run_id):
            async with asyncio.TaskGroup() as group:
                for line in lines:
                    group.create_task(self._examine(run_id, source, criteria, line))
        self._store.eval_runs.set_status(run_id, "completed")

    async def _examine(
        self, run_id: str, source: Answers | Questions, criteria: Sequence[Grader], line: Line
    ) -> None:
        assert self._examiner is not None
        async with self._free:
            body = await self._examiner.examine(source, criteria, line)
            self._store.eval_runs.keep_result(run_id, line.number, body)

    def _note_end(self, run_id: str, ended: "asyncio.Task[None]") -> None:
        del self._tasks[run_id]
        if ended.cancelled() or (error := ended.exception()) is None:
            return
        logging.getLogger(__name__).error("Eval run %s failed.", run_id, exc_info=error)
        message = "The local service made a mistake; service.log in its home folder says which."
        self._store.eval_runs.set_status(run_id, "failed", {"code": "internalFailure", "message": message})
