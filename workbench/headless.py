"""The notebooks without a browser: in order, in one process, with parameters.

Papermill injects the parameters and keeps every executed notebook; what came
out of a run is read from the project's record, never from a cell's output.
What a notebook says and does lives in ``notebooks/``, not here.
"""

import json
import logging
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from workbench import ROOT
from workbench.errors import DataError
from workbench.project import JSON, Project

if TYPE_CHECKING:
    from nbformat import NotebookNode
    from tqdm import tqdm

NOTEBOOKS = ROOT / "notebooks"

RESULTS = (
    "outcome",
    "verdict",
    "base_model",
    "base_prompt",
    "base_score",
    "base_low",
    "base_high",
    "tuned_model",
    "tuned_prompt",
    "tuned_score",
    "tuned_low",
    "tuned_high",
    "items",
    "fixed",
    "broken",
    "p_value",
    "training_seconds",
    "job_id",
)
"""The facts of a comparison that a run's summary repeats."""

Value = str | int | float | bool | None
"""What a parameter can be: one YAML scalar."""


@dataclass(frozen=True)
class Plan:
    """One notebook, and the parameters it will get."""

    notebook: Path
    parameters: Mapping[str, Value]

    @property
    def name(self) -> str:
        """The file's name without its ending: ``04_launch``."""
        return self.notebook.stem


@dataclass(frozen=True)
class Run:
    """How one notebook ended, and where the executed copy lies."""

    name: str
    path: Path
    status: Literal["completed", "failed", "not run"] = "not run"
    seconds: float = 0.0
    error: str | None = None  # which cell failed, and the last line of its error


@dataclass(frozen=True)
class Summary:
    """What came out of a run: how each notebook ended, and base against tuned when all of them did well."""

    project: str
    folder: Path
    runs: tuple[Run, ...]
    comparison: Mapping[str, JSON] | None

    @property
    def facts(self) -> dict[str, JSON]:
        """The same as one JSON object."""
        notebooks: list[JSON] = []
        for run in self.runs:
            failed: dict[str, JSON] = {} if run.error is None else {"error": run.error, "path": str(run.path)}
            notebooks.append({"name": run.name, "status": run.status, "seconds": run.seconds, **failed})
        found = self.comparison or {}
        results = {name: found.get(name) for name in RESULTS}
        return {"notebooks": notebooks, **results, "project": self.project, "folder": str(self.folder)}

    def __str__(self) -> str:
        """Write the table for a shell: before, after, and how sure one can be."""
        if self.comparison is None:
            done = sum(run.status == "completed" for run in self.runs)
            return f"{done} of {len(self.runs)} notebooks completed; nothing was compared."
        found = self.comparison
        rows = [
            (
                f"{found[f'{side}_model']}, {found[f'{side}_prompt']}",
                f"{found[f'{side}_score']:.1%}".replace("%", " %"),
                f"{found[f'{side}_low']:.0%} to {found[f'{side}_high']:.0%}".replace("%", " %"),
            )
            for side in ("base", "tuned")
        ]
        rows = [(f"{found['items']} held-out questions", "right", "95 % interval"), *rows]
        first, second, third = (max(len(row[column]) for row in rows) for column in range(3))
        lines = [f"{row[0]:<{first}}  {row[1]:>{second}}  {row[2]:>{third}}" for row in rows]
        lines.append(f"{found['verdict']} Training took {found['training_seconds']:.0f} s.")
        return "\n".join(lines)


def read_parameters(flags: Iterable[tuple[str, str]], file: Path | None = None) -> dict[str, Value]:
    """Read parameters from a YAML or JSON file and from flags; a flag wins over the file."""
    parameters = {} if file is None else _parameters_in(file)
    return parameters | {name: _scalar(text) for name, text in flags}


def plan(
    parameters: Mapping[str, Value], *, only: Sequence[str] = (), folder: Path = NOTEBOOKS
) -> list[Plan]:
    """Give each notebook the parameters it knows; a name that none of them knows is an error.

    ``only`` picks notebooks by how their names begin (``"04"``); empty picks all.
    """
    from papermill import inspect_notebook

    notebooks = sorted(folder.glob("[0-9][0-9]_*.ipynb"))
    for start in only:
        if not any(path.name.startswith(start) for path in notebooks):
            names = ", ".join(path.stem for path in notebooks)
            raise DataError(f"No notebook begins with '{start}'; there are {names}.")
    # Those that do not run are asked too: a mistyped name is one whatever runs.
    known = {path: frozenset[str](inspect_notebook(path)) for path in notebooks}
    every = frozenset[str]().union(*known.values())
    if unknown := sorted(parameters.keys() - every):
        raise DataError(
            f"No notebook has a parameter {', '.join(unknown)}; there are {', '.join(sorted(every))}."
        )
    return [
        Plan(path, {name: value for name, value in parameters.items() if name in known[path]})
        for path in notebooks
        if not only or path.name.startswith(tuple(only))
    ]


def execute(plans: Sequence[Plan], folder: Path) -> Iterator[Run]:
    """Run the notebooks one after the other, up to the first that fails; copies as executed go to ``folder``.

    A bar on stderr shows the notebook and the cell at work, where stderr is a terminal.
    """
    from tqdm import tqdm

    logging.getLogger("papermill").addHandler(logging.NullHandler())  # what it says comes out as Run.error
    for number, planned in enumerate(plans, start=1):
        bar: tqdm[object] = tqdm(
            desc=f"{number}/{len(plans)} {planned.name}",
            bar_format="{desc} |{bar:12}| {n_fmt}/{total_fmt} cells {elapsed}{postfix}",
            file=sys.stderr,
            disable=None,
            leave=False,
            dynamic_ncols=True,
        )
        with bar:
            done = _execute(planned, folder, bar)
        yield done
        if done.error is not None:
            return


def summarize(project: Project, runs: Iterable[Run], folder: Path) -> Summary:
    """Tell what came out; the scores stand in the record, if 06_evaluate wrote them just now."""
    ended = tuple(runs)
    compared = any(run.name == "06_evaluate" and run.status == "completed" for run in ended)
    entry = project.latest("comparison") if compared else None
    return Summary(project.name, folder, ended, None if entry is None else entry.facts)


def _execute(planned: Plan, folder: Path, bar: "tqdm[object]") -> Run:
    """Run one notebook in a kernel that is this interpreter, whatever kernels are installed."""
    from papermill import PapermillExecutionError, execute_notebook

    kept = folder / planned.notebook.name
    window, started, error = _Window(bar), time.monotonic(), None
    with tempfile.TemporaryDirectory(prefix="wb-") as sockets:
        try:
            execute_notebook(
                planned.notebook,
                str(kept).replace("{", "{{").replace("}", "}}"),  # papermill fills in what stands in braces
                dict(planned.parameters),
                progress_bar=False,
                kernel_manager_class=_kernels(Path(sockets)),
                on_notebook_start=window.open,
                on_cell_start=window.enter,
                stdout_file=window,
                stderr_file=window,
            )
        except PapermillExecutionError as failure:
            last = _plain(failure.evalue).strip().rpartition("\n")[2]
            error = f"cell [{failure.exec_count}]: {failure.ename}: {last}"
        except RuntimeError as failure:  # nbclient's DeadKernelError, or a kernel that never answered
            error = f"{_plain(str(failure))} (the kernel is gone; perhaps the machine ran out of memory)"
    seconds = round(time.monotonic() - started, 1)
    return Run(planned.name, kept, "completed" if error is None else "failed", seconds, error)


def _kernels(sockets: Path) -> type:
    """Make kernels of this interpreter that listen on files; on ports each of them would print a warning."""
    from jupyter_client.kernelspec import KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager

    class Kernel(AsyncKernelManager):
        def __init__(self, **settings: object) -> None:
            super().__init__(
                transport="tcp" if os.name == "nt" else "ipc",
                connection_file=str(sockets / "kernel.json"),
                kernel_spec_manager=KernelSpecManager(
                    kernel_dirs=[]
                ),  # a "python3" found there may be another
                shutdown_wait_time=1.0,
                **settings,
            )

    return Kernel


class _Window:
    """What a shell sees of a notebook at work: the heading it has reached and the line it printed last.

    To papermill it is the file that cells print into.
    """

    def __init__(self, bar: "tqdm[object]") -> None:
        self.bar = bar
        self.heading = ""

    def open(self, notebook: "NotebookNode") -> None:
        self.bar.reset(total=len(notebook.cells))

    def enter(self, cell: "NotebookNode", cell_index: int) -> None:
        if cell.cell_type == "markdown" and (title := re.search(r"^##? (.+)$", cell.source, re.MULTILINE)):
            self.heading = title[1]
        self.bar.n = cell_index
        self.bar.set_postfix_str(self.heading)

    def write(self, text: str) -> None:
        if line := _plain(text).replace("\r", "\n").strip().rpartition("\n")[2]:
            self.bar.set_postfix_str(f"{self.heading}: {line}")

    def flush(self) -> None:
        self.bar.refresh()


def _plain(text: str) -> str:
    """Take the colours out of what a kernel printed."""
    return re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", text)


def _scalar(text: str) -> Value:
    """Read one value as YAML does; what is no number, truth value or null is the text itself."""
    import yaml

    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        return text
    if isinstance(value, str):
        return _number(value)
    return value if value is None or isinstance(value, bool | int | float) else text


def _number(text: str) -> str | float:
    """Read ``2e-3`` as the number it is; PyYAML asks for a dot before the e."""
    return float(text) if re.fullmatch(r"[-+]?\d+[eE][-+]?\d+", text) else text


def _parameters_in(file: Path) -> dict[str, Value]:
    """Read a mapping of names to scalars from a YAML or JSON file."""
    import yaml

    try:
        text = file.read_text(encoding="utf-8-sig")
        content = json.loads(text) if file.suffix == ".json" else yaml.safe_load(text)
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror}.") from None
    except (ValueError, yaml.YAMLError) as error:
        raise DataError(f"{file} is neither YAML nor JSON: {' '.join(str(error).split())}.") from None
    if not isinstance(content, dict):
        raise DataError(f"{file} must hold one parameter a line, like 'MODEL: nano'.")
    for name, value in content.items():
        if not isinstance(value, Value):
            raise DataError(f"{file}: {name} must be one value, a text, a number, true, false or null.")
    return {str(name): _number(value) if isinstance(value, str) else value for name, value in content.items()}
