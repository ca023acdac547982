"""Notebooks without a browser: parameters from flags and files, run in order, results as a table and JSON.

What came out of a run is read from the project's record, never from a cell's output. Apart because
``__main__`` holds the commands of a shell, and a program of one's own can run notebooks without them.
"""

import asyncio
import gc
import json
import logging
import os
import re
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn, cast

from workbench.errors import DataError, SetupError, did_you_mean
from workbench.jsonl_log import JSON, read_text
from workbench.project import Project, state_task
from workbench.settings import ROOT
from workbench.task import PARAMETERS, TASK_FILE, Setting, Task, changed_task, sample_task

if TYPE_CHECKING:
    from types import FrameType

    from jupyter_client.manager import AsyncKernelManager
    from nbformat import NotebookNode
    from tqdm import tqdm

# What the notebooks are to be run with: parameters from flags and files, and which notebook knows which.
#
# A name that no notebook knows stops everything before anything runs. What a
# value means is for the notebook to say.

NOTEBOOKS = ROOT / "notebooks"
ROAD = ("00", "01", "02", "03", "04", "05", "06")
"""The notebooks that a run executes unless others are named: from the first question to the verdict."""

Value = str | int | float | bool | None
"""What a parameter can be: one YAML scalar."""


@dataclass(frozen=True)
class PlannedNotebook:
    """One notebook, and the parameters it will get."""

    notebook: Path
    parameters: Mapping[str, Value]
    needs_task: bool = True
    """Whether it reads the task, and not the project's record alone."""

    @property
    def name(self) -> str:
        """The file's name without its ending: ``04_launch``."""
        return self.notebook.stem


def read_parameters(flags: Iterable[tuple[str, str]], file: Path | None = None) -> dict[str, Value]:
    """Read parameters from a YAML or JSON file and from flags; a flag wins over the file."""
    parameters = {} if file is None else _parameters_in(file)
    return parameters | {name: _scalar(text) for name, text in flags}


def plan(
    parameters: Mapping[str, Value], *, only: Sequence[str] = (), folder: Path = NOTEBOOKS
) -> list[PlannedNotebook]:
    """Give each notebook the parameters it knows; a name that none of them knows is an error.

    ``only`` picks notebooks by how their names begin (``"04"``); empty picks those from start to verdict
    (``ROAD``), as further methods are trained only by who asks for them. Settings of the task are
    no parameters of a notebook; ``state`` sees to them.
    """
    found = notebooks(folder)
    for start in only:
        if not any(path.name.startswith(start) for path in found):
            names = ", ".join(path.stem for path in found)
            raise DataError(f"No notebook begins with '{start}'; there are {names}.")
    # Those that do not run are asked too: a mistyped name is one whatever runs.
    known = {path: parameters_of(path) for path in found}
    every = frozenset[str]().union(*known.values())
    if unknown := sorted(parameters.keys() - every - PARAMETERS.keys()):
        meant = did_you_mean(unknown[0], [*every, *PARAMETERS])
        there = f"Of notebooks there are {', '.join(sorted(every - PARAMETERS.keys()))}"
        there += f"; and of the task {', '.join(sorted(PARAMETERS))}."
        all_of_them = "'python -m workbench run --help' lists them all." if meant else there
        raise DataError(f"No notebook has a parameter {', '.join(unknown)}.{meant} {all_of_them}")
    own = {name: value for name, value in parameters.items() if name not in PARAMETERS}
    return [
        PlannedNotebook(
            path,
            {name: value for name, value in own.items() if name in known[path]},
            "project.task" in path.read_text(encoding="utf-8"),
        )
        for path in found
        if path.name.startswith(tuple(only) or ROAD)
    ]


def notebooks(folder: Path = NOTEBOOKS) -> list[Path]:
    """The notebooks of a folder, in their order."""
    found = sorted(folder.glob("[0-9][0-9]_*.ipynb"))
    if not found:
        raise SetupError(f"{folder} holds no notebooks; run from a clone, installed as its README says.")
    return found


def parameters_of(notebook: Path) -> dict[str, str]:
    """The parameters of a notebook, each with its meaning: the lines of the cell tagged ``parameters``."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    sources = [cell["source"] for cell in cells if "parameters" in cell["metadata"].get("tags", ())]
    lines = "\n".join("".join(source) for source in sources).splitlines()
    found = (re.match(r"(\w+)(?:: \w+)? = .*?(?:  # (.+))?$", line) for line in lines)
    return {line[1]: line[2] or "" for line in found if line}


def state(project: Project, parameters: Mapping[str, Value]) -> Task:
    """The task of this run, checked: what ``project.toml`` states, with what ``parameters`` say otherwise.

    A project that states no task yet keeps what is given here in its ``project.toml``. After that, and in a
    sample's own project, the parameters count for this one run. Raises ``DataError`` or ``SetupError`` for
    a task that is none, names a file that is not there, a column that its file lacks, or a grader that is
    none; nothing has run by then.
    """
    from workbench.evaluation.graders.ready_made import grader

    given = {
        PARAMETERS[name]: _setting(name, value) for name, value in parameters.items() if name in PARAMETERS
    }
    stated = (project.path / TASK_FILE).is_file() or sample_task(project.name) is not None
    task = changed_task(project.task, given) if stated else state_task(project, given)
    named = (task.grader, task.format_grader, task.preference_grader)
    for name in filter(None, (*named, task.reinforcement_grader, task.reinforcement_rubric)):
        grader(name)
    return task


@contextmanager
def for_this_run(task: Task, project: Project, folder: Path) -> Iterator[None]:
    """Let the notebooks read this task, where it is not the one that the project states."""
    if task == project.task:
        yield
        return
    before = {name: os.environ[name] for name in ("WORKBENCH_TASK",) if name in os.environ}
    written = project.save(f"{folder.relative_to(project.path)}/{TASK_FILE}", task.to_toml(folder))
    os.environ["WORKBENCH_TASK"] = str(written)
    try:
        yield
    finally:
        del os.environ["WORKBENCH_TASK"]
        os.environ.update(before)


def _setting(name: str, value: Value) -> Setting:
    if isinstance(value, bool):
        raise DataError(
            f"{name} was read as {str(value).lower()}; for the word, put it in quotes: -p {name} '\"yes\"'."
        )
    return value


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

    text = read_text(file)
    try:
        content = json.loads(text) if file.suffix == ".json" else yaml.safe_load(text)
    except (ValueError, yaml.YAMLError) as error:
        raise DataError(f"{file} is neither YAML nor JSON: {' '.join(str(error).split())}.") from None
    if not isinstance(content, dict):
        raise DataError(f"{file} must hold one parameter a line, like 'MODEL: nano'.")
    for name, value in content.items():
        if not isinstance(value, Value):
            raise DataError(f"{file}: {name} must be one value, a text, a number, true, false or null.")
    return {str(name): _number(value) if isinstance(value, str) else value for name, value in content.items()}


# Executing notebooks through papermill, one kernel after the other, in this process.
#
# Every notebook is kept as it was executed, also when a cell fails or somebody
# presses Ctrl-C. A kernel is always this very Python.


@dataclass(frozen=True)
class NotebookRun:
    """How one notebook ended, and where the executed copy lies."""

    name: str
    path: Path
    status: Literal["completed", "failed", "not run"] = "not run"
    seconds: float = 0.0
    error: str | None = None  # which cell failed, and the last line of its error


# What a kernel gets that is still at its cell so many seconds after Ctrl-C. Between two cells it ignores an
# interrupt; and one that comes just before it has said how a cell ended, it takes, and never says so.
AFTER_CTRL_C: Mapping[int, signal.Signals] = (  # on Windows nothing is sent
    {} if os.name == "nt" else {5: signal.SIGINT, 15: signal.SIGKILL}
)


def execute(plans: Sequence[PlannedNotebook], folder: Path) -> Iterator[NotebookRun]:
    """Run the notebooks one after the other, up to the first that fails; copies as executed go to ``folder``.

    A bar on stderr shows the notebook and the cell at work, where stderr is a terminal.
    Ctrl-C interrupts the cell, keeps the notebook, and is raised; a second one ends at once.
    """
    from tqdm import tqdm

    logging.getLogger("papermill").addHandler(
        logging.NullHandler()
    )  # what it says comes out as NotebookRun.error
    with _forks(len(plans)) as forks:
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
                done = _execute(planned, folder, _Watcher(bar, folder / planned.notebook.name, forks))
            yield done
            if done.error is not None:
                return


def _execute(planned: PlannedNotebook, folder: Path, watcher: "_Watcher") -> NotebookRun:
    with _without("rfc3987_syntax"):
        from papermill import PapermillExecutionError, execute_notebook

    kept = folder / planned.notebook.name
    started = time.monotonic()
    error = None
    with watcher.attended():
        try:
            execute_notebook(
                planned.notebook,
                str(kept).replace("{", "{{").replace("}", "}}"),  # papermill fills in what stands in braces
                dict(planned.parameters),
                progress_bar=False,
                request_save_on_cell_execute=False,  # 50 ms a cell; the watcher saves long ones
                kernel_manager_class=watcher.kernel_class,
                on_notebook_start=watcher.open,
                on_cell_start=watcher.enter,
                on_cell_execute=watcher.begin,
                on_cell_executed=watcher.end,
                stdout_file=watcher,
                stderr_file=watcher,
            )
        except PapermillExecutionError as failure:
            last = _plain(failure.evalue).strip().rpartition("\n")[2]
            error = f"cell [{failure.exec_count}]: {failure.ename}: {last}"
        except RuntimeError as failure:  # nbclient's DeadKernelError, or a kernel that never answered
            error = f"{_plain(str(failure))} (the kernel is gone; perhaps the machine ran out of memory)"
            watcher.save()
        except KeyboardInterrupt:
            watcher.save()
            raise
    if watcher.stopped:
        raise KeyboardInterrupt
    seconds = round(time.monotonic() - started, 1)
    return NotebookRun(planned.name, kept, "completed" if error is None else "failed", seconds, error)


@contextmanager
def _without(module: str) -> Iterator[None]:
    """Import as if this module were not installed.

    Jupyter installs ``rfc3987_syntax``, with which jsonschema, behind papermill, compiles a grammar of
    addresses for two seconds; no notebook's format asks for it.
    """
    if module in sys.modules:
        yield
        return
    sys.modules[module] = cast("Any", None)
    try:
        yield
    finally:
        del sys.modules[module]


class _Watcher:
    """Where one notebook is at work: its kernel, what the shell sees of it, and who pressed Ctrl-C.

    To papermill it is also the file that cells print into.
    """

    def __init__(self, bar: "tqdm[NoReturn]", kept: Path, forks: "_Forks | None") -> None:
        self.bar, self.kept, self.forks = bar, kept, forks
        self.notebook: NotebookNode | None = None
        self.heading = ""
        self.kernel: AsyncKernelManager | None = None
        self.working: asyncio.Task[None] | None = None
        self.stopped = False

    @contextmanager
    def attended(self) -> Iterator[None]:
        """Have a place for the kernel's sockets, and take Ctrl-C."""
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
        if self.working:
            self.send(signal.SIGINT)

    def send(self, number: signal.Signals) -> None:
        """Send the kernel a signal."""
        if self.kernel is not None and self.kernel.provisioner is not None:
            with suppress(ProcessLookupError):  # it has died, which papermill tells in its own words
                os.kill(self.kernel.provisioner.pid, number)  # type: ignore[attr-defined]

    def open(self, notebook: "NotebookNode") -> None:
        self.notebook = notebook
        self.save()
        self.bar.reset(total=len(notebook.cells))

    def save(self) -> None:
        """Keep the notebook as far as it is executed."""
        from nbformat import write

        if self.notebook is not None:
            write(self.notebook, self.kept)  # type: ignore[no-untyped-call]

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
        """Keep the clock on the bar going while a cell takes its time, and see that Ctrl-C ends it."""
        waited = ticks = 0
        while True:
            await asyncio.sleep(1)
            self.bar.refresh()
            ticks += 1
            if ticks % _SAVED_EVERY == 0:
                self.save()
            waited += self.stopped
            if number := AFTER_CTRL_C.get(waited):
                self.send(number)

    def write(self, text: str) -> None:
        if line := _plain(text).replace("\r", "\n").strip().rpartition("\n")[2]:
            self.bar.set_postfix_str(f"{self.heading}: {line}")

    def flush(self) -> None:
        self.bar.refresh()

    def _kernels(self, sockets: Path) -> type:
        """Make kernels of this Python that listen on files; on ports each of them would print a warning."""
        from jupyter_client.kernelspec import KernelSpecManager
        from jupyter_client.manager import AsyncKernelManager

        watcher = self

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
                watcher.kernel = self

            async def _async_launch_kernel(self, kernel_cmd: list[str], **options: Any) -> None:
                if watcher.forks is None:
                    await super()._async_launch_kernel(kernel_cmd, **options)
                    return
                started = watcher.forks.kernel(kernel_cmd[3:], options["env"])  # behind python -m module
                where: Any = self.provisioner
                where.process, where.pid, where.pgid = started, started.pid, started.pid
                self._reconcile_connection_info(where.connection_info)

            def format_kernel_cmd(self, extra_arguments: list[str] | None = None) -> list[str]:
                # The interrupt with which a shutdown begins is no error worth a line in somebody's shell.
                return super().format_kernel_cmd([*(extra_arguments or ()), "--log-level=CRITICAL"])

        return Kernel


_SAVED_EVERY = 10  # seconds, while a cell is at work


# Kernels that need not load anything. One process loads the libraries and what the public API gives, and
# forks a kernel for each notebook: a process of its own, with every module as it is right after it was
# imported, and nothing that another notebook did. (A notebook that forgot an import of a module of ours can
# pass here; as a test, nbval runs each in a kernel of its own.)

_LIBRARIES = (
    "ipykernel.kernelapp",
    "pandas",
    "openai",
    "scipy.special",
    "anywidget",
    "tqdm.auto",
)
_SERVER = """
import signal
signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the notebook at work
import workbench
for word in workbench.__all__:
    getattr(workbench, word)
from workbench.runner import serve_kernels
serve_kernels()
"""


class _ForkedKernel:
    """A kernel that is no child of this process, with what jupyter_client uses of a ``Popen``."""

    stdin = stdout = stderr = None

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._life = os.pidfd_open(pid)  # readable once it has ended; its number may be another's by then

    def poll(self) -> int | None:
        return self.wait(0)

    def wait(self, timeout: float | None = None) -> int | None:
        return 0 if select.select([self._life], [], [], timeout)[0] else None

    def send_signal(self, number: int) -> None:
        signal.pidfd_send_signal(self._life, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def __del__(self) -> None:
        os.close(self._life)


class _Forks:
    """The process that has loaded the libraries, and forks kernels."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def kernel(self, arguments: Sequence[str], environment: Mapping[str, str]) -> _ForkedKernel:
        """Fork a kernel with these arguments and this environment, in the current folder."""
        asked = {"arguments": arguments, "environment": dict(environment), "folder": str(Path.cwd())}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(asked) + "\n")
            self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError("The process that starts kernels has ended")
        return _ForkedKernel(int(answer))


@contextmanager
def _forks(notebooks: int) -> Iterator[_Forks | None]:
    """Start the process that forks kernels; ``None`` for one notebook alone, and without pidfds."""
    if notebooks < 2 or not hasattr(os, "pidfd_open"):
        yield None
        return
    command = [sys.executable, "-c", _SERVER]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield _Forks(process)
    finally:
        process.communicate()  # it ends when its input does


def serve_kernels() -> None:
    """Load the libraries; then for each line of JSON on stdin fork a kernel, and write its process id."""
    for name in _LIBRARIES:
        import_module(name)
    gc.freeze()  # what is loaded stays shared with the kernels
    for line in sys.stdin:
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass  # the system forgets kernels that have ended
        pid = os.fork()
        if pid == 0:
            _become_kernel(**json.loads(line))
        print(pid, flush=True)


def _become_kernel(arguments: list[str], environment: dict[str, str], folder: str) -> NoReturn:
    from ipykernel.kernelapp import IPKernelApp

    code = 1
    try:
        os.setsid()
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(2, 1)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        IPKernelApp.launch_instance(argv=arguments, parent_handle=os.getppid())  # it ends when we do
        code = 0
    finally:
        os._exit(code)


def _plain(text: str) -> str:
    """Take the colours out of what a kernel printed."""
    return re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", text)


# What a run of the notebooks came to: for people a table, for CI one JSON object.

_OF_A_MODEL = ("model", "prompt", "score", "low", "high")
_OF_BOTH = ("items", "fixed", "broken", "p_value", "training_seconds", "job_id")
_OF_EACH = (f"{side}_{fact}" for side in ("base", "tuned") for fact in _OF_A_MODEL)
RESULTS = ("outcome", "verdict", *_OF_EACH, *_OF_BOTH)
"""The facts of a comparison that a run's summary repeats."""


@dataclass(frozen=True)
class Summary:
    """What came out of a run: how each notebook ended, and base against tuned when all of them did well."""

    project: str
    folder: Path
    runs: tuple[NotebookRun, ...]
    comparison: Mapping[str, JSON] | None
    decision: str | None = None
    """What 02_decide advised, in a sentence."""

    @property
    def release(self) -> Mapping[str, JSON]:
        """What the release check said (result, verdict, checks); empty where none was made."""
        found = (self.comparison or {}).get("gate")  # its name in the record since the first release
        return found if isinstance(found, Mapping) else {}

    @property
    def facts(self) -> dict[str, JSON]:
        """The same as one JSON object."""
        notebooks: list[JSON] = []
        for run in self.runs:
            failed: dict[str, JSON] = {} if run.error is None else {"error": run.error, "path": str(run.path)}
            notebooks.append({"name": run.name, "status": run.status, "seconds": run.seconds, **failed})
        results = {name: (self.comparison or {}).get(name) for name in RESULTS}
        judged: dict[str, JSON] = {"release_check": dict(self.release) or None, "decision": self.decision}
        return {
            "notebooks": notebooks,
            **results,
            **judged,
            "project": self.project,
            "folder": str(self.folder),
        }

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
        if self.decision:
            lines.append(f"Decision: {self.decision}")
        if self.release:
            lines.append(f"Release check: {self.release['verdict']}")
            checks = cast("Sequence[Mapping[str, str]]", self.release["checks"])
            lines += [
                f"  {check['name']}: {check['why']}"
                for check in checks
                if check["result"] != "passed" and check["why"] != found["verdict"]
            ]
        return "\n".join(lines)


def summarize(project: Project, runs: Iterable[NotebookRun], folder: Path) -> Summary:
    """Sum up what came out; the scores stand in the record, if 06_evaluate wrote them just now."""
    ended = tuple(runs)
    compared = any(run.name == "06_evaluate" and run.status == "completed" for run in ended)
    entry = project.latest("comparison") if compared else None
    advised = any(run.name == "02_decide" and run.status == "completed" for run in ended)
    decision = project.latest("decision") if advised else None
    return Summary(
        project.name,
        folder,
        ended,
        None if entry is None else entry.facts,
        None if decision is None else str(decision.facts["title"]),
    )
