"""Executing notebooks through papermill, one kernel after the other, in this process.

Every notebook is kept as it was executed, also when a cell fails or somebody
presses Ctrl-C. A kernel is always this very Python.
"""

import asyncio
import logging
import os
import re
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NoReturn

from workbench.headless.parameters import Plan

if TYPE_CHECKING:
    from types import FrameType

    from jupyter_client.manager import AsyncKernelManager
    from nbformat import NotebookNode
    from tqdm import tqdm


@dataclass(frozen=True)
class Run:
    """How one notebook ended, and where the executed copy lies."""

    name: str
    path: Path
    status: Literal["completed", "failed", "not run"] = "not run"
    seconds: float = 0.0
    error: str | None = None  # which cell failed, and the last line of its error


def execute(plans: Sequence[Plan], folder: Path) -> Iterator[Run]:
    """Run the notebooks one after the other, up to the first that fails; copies as executed go to ``folder``.

    A bar on stderr shows the notebook and the cell at work, where stderr is a terminal.
    Ctrl-C interrupts the cell, keeps the notebook, and is raised; a second one ends at once.
    """
    from tqdm import tqdm

    logging.getLogger("papermill").addHandler(logging.NullHandler())  # what it says comes out as Run.error
    for number, planned in enumerate(plans, start=1):
        bar = tqdm(
            desc=f"{number}/{len(plans)} {planned.name}",
            bar_format="{desc} |{bar:12}| {n_fmt}/{total_fmt} cells {elapsed}{postfix}",
            file=sys.stderr,
            disable=None,
            leave=False,
            dynamic_ncols=True,
        )
        with bar:
            done = _execute(planned, folder, _Desk(bar))
        yield done
        if done.error is not None:
            return


def _execute(planned: Plan, folder: Path, desk: "_Desk") -> Run:
    from papermill import PapermillExecutionError, execute_notebook

    kept = folder / planned.notebook.name
    started = time.monotonic()
    error = None
    with desk.attended():
        try:
            execute_notebook(
                planned.notebook,
                str(kept).replace("{", "{{").replace("}", "}}"),  # papermill fills in what stands in braces
                dict(planned.parameters),
                progress_bar=False,
                kernel_manager_class=desk.kernel_class,
                on_notebook_start=desk.open,
                on_cell_start=desk.enter,
                on_cell_execute=desk.begin,
                on_cell_executed=desk.end,
                stdout_file=desk,
                stderr_file=desk,
            )
        except PapermillExecutionError as failure:
            last = _plain(failure.evalue).strip().rpartition("\n")[2]
            error = f"cell [{failure.exec_count}]: {failure.ename}: {last}"
        except RuntimeError as failure:  # nbclient's DeadKernelError, or a kernel that never answered
            error = f"{_plain(str(failure))} (the kernel is gone; perhaps the machine ran out of memory)"
    if desk.stopped:
        raise KeyboardInterrupt
    seconds = round(time.monotonic() - started, 1)
    return Run(planned.name, kept, "completed" if error is None else "failed", seconds, error)


class _Desk:
    """Where one notebook is at work: its kernel, what the shell sees of it, and who pressed Ctrl-C.

    To papermill it is also the file that cells print into.
    """

    def __init__(self, bar: "tqdm[NoReturn]") -> None:
        self.bar = bar
        self.heading = ""
        self.kernel: AsyncKernelManager | None = None
        self.working: asyncio.Task[None] | None = None
        self.stopped = False

    @contextmanager
    def attended(self) -> Iterator[None]:
        """Have a place for the kernel's sockets, and an ear for Ctrl-C."""
        ours = os.name != "nt" and threading.current_thread() is threading.main_thread()
        before = signal.signal(signal.SIGINT, self.stop) if ours else None
        try:
            with tempfile.TemporaryDirectory(prefix="wb-") as sockets:
                self.kernel_class = self._kernels(Path(sockets))
                yield
        finally:
            if ours:
                signal.signal(signal.SIGINT, before)

    def stop(self, number: int, frame: "FrameType | None") -> None:
        """Interrupt the cell at work, or the next one; papermill alone would leave broken sockets behind."""
        self.stopped = True
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if self.working and self.kernel is not None and self.kernel.provisioner is not None:
            os.kill(self.kernel.provisioner.pid, signal.SIGINT)  # type: ignore[attr-defined]

    def open(self, notebook: "NotebookNode") -> None:
        self.bar.reset(total=len(notebook.cells))

    def enter(self, cell: "NotebookNode", cell_index: int) -> None:
        if self.stopped:
            raise KeyboardInterrupt
        if cell.cell_type == "markdown" and (title := re.search(r"^##? (.+)$", cell.source, re.MULTILINE)):
            self.heading = title[1]
        self.bar.n = cell_index
        self.bar.set_postfix_str(self.heading)

    def begin(self, cell: "NotebookNode", cell_index: int) -> None:
        self.working = asyncio.get_running_loop().create_task(self.tick())

    def end(self, cell: "NotebookNode", cell_index: int, execute_reply: object) -> None:
        if self.working is not None:
            self.working.cancel()
        self.working = None

    async def tick(self) -> None:
        """Keep the clock on the bar going while a cell takes its time."""
        while True:
            await asyncio.sleep(1)
            self.bar.refresh()

    def write(self, text: str) -> None:
        if line := _plain(text).replace("\r", "\n").strip().rpartition("\n")[2]:
            self.bar.set_postfix_str(f"{self.heading}: {line}")

    def flush(self) -> None:
        self.bar.refresh()

    def _kernels(self, sockets: Path) -> type:
        """Make kernels of this Python that listen on files; on ports each of them would print a warning."""
        from jupyter_client.kernelspec import KernelSpecManager
        from jupyter_client.manager import AsyncKernelManager

        desk = self

        class Kernel(AsyncKernelManager):
            def __init__(self, **settings: object) -> None:
                super().__init__(
                    transport="tcp" if os.name == "nt" else "ipc",
                    connection_file=str(sockets / "kernel.json"),
                    # Looked for nowhere, "python3" is this Python; one that is found may be another.
                    kernel_spec_manager=KernelSpecManager(kernel_dirs=[]),
                    shutdown_wait_time=1.0,
                    **settings,
                )
                desk.kernel = self

            def format_kernel_cmd(self, extra_arguments: list[str] | None = None) -> list[str]:
                # The interrupt with which a shutdown begins is no error worth a line in somebody's shell.
                return super().format_kernel_cmd([*(extra_arguments or ()), "--log-level=CRITICAL"])

        return Kernel


def _plain(text: str) -> str:
    """Take the colours out of what a kernel printed."""
    return re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", text)
