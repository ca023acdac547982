"""``guide``: one page for whoever drives the commands by program, a coding agent among them.

What a command takes is read from the command itself; what it reads and answers as JSON and how it ends
stands here, and tests compare it with what the commands really do.
"""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import typer

from workbench.cli import JOURNEY


class Contract(NamedTuple):
    """What a command promises to a program."""

    answers: tuple[str, ...] = ()
    """The names in the JSON object that ``--json`` prints; empty where the command has no ``--json``."""
    codes: Mapping[int, str] = MappingProxyType({0: "done"})
    reads: str = ""
    """What stands in a file that it reads, where that is JSON or a table."""
    costs: str = ""
    """What it costs on Azure or OpenAI; empty: nothing. The local service charges for nothing."""


_MET = {0: "done", 130: "interrupted; the same command goes on where it was"}
_DECIDED = {0: "answered"}
_JOB = ("id", "status", "model", "fine_tuned_model", "created_at", "finished_at", "trained_tokens", "error")
_CONTROL = Contract((*_JOB, "costs"))
_TRAINS = "a training job, and tokens for every question asked"
CONTRACTS: Mapping[str, Contract] = {
    "lab": Contract(codes={0: "JupyterLab has ended"}),
    "new": Contract(("file", "examples", "test", "grader", "target")),
    "run": Contract(
        ("notebooks", "outcome", "verdict", "release_check", "decision", "project", "folder", "report"),
        {**_MET, 1: "a notebook failed, or the release check refuses the tuned model"},
        "--file: YAML or JSON, a value for each parameter",
        _TRAINS,
    ),
    "projects": Contract(("projects",)),
    "report": Contract(("report", "bytes"), {0: "the page is written"}),
    "decide": Contract(
        ("verdict", "title", "reason", "advice", "then", "would_change", "next_measurement"),
        _DECIDED,
        "a situation; decide --schema",
    ),
    "payback": Contract(("requests_per_month", "best", "ways"), _DECIDED, "a case; payback --schema"),
    "forecast": Contract(
        ("verdict", "sentence", "probability", "doubled", "points"), _DECIDED, "CSV; forecast --schema"
    ),
    "models": Contract(("models", "untold", "offerings"), _DECIDED),
    "check": Contract(
        ("ok", "examples", "tokens", "method", "model", "counts", "files", "problems"),
        {0: "nothing refuses the data", 1: "some lines would be refused"},
        "JSON lines, CSV, Excel or Parquet",
    ),
    "build": Contract(
        ("file", "examples", "sha256", "notes"),
        reads="CSV, Excel, Parquet or JSON lines; --mapping: YAML or JSON",
        costs="with --rehearsal tokens for every prompt",
    ),
    "fix": Contract(("data", "before_sha256", "after_sha256", "rows_changed", "rows_dropped", "unreadable")),
    "undo": Contract(),
    "jobs list": Contract(("jobs",)),
    "jobs show": Contract((*_JOB, "step", "final", "events", "alerts", "choices")),
    "jobs follow": Contract(
        ("jobs", "alerts"),
        {0: "all succeeded", 1: "one failed", 3: "one was cancelled", 130: "no longer followed; they go on"},
    ),
    "jobs pause": _CONTROL,
    "jobs resume": Contract(_CONTROL.answers, costs="what is left of the training"),
    "jobs cancel": _CONTROL,
    "jobs lineage": Contract(("project", "bases", "steps", "missing")),
    "diagnose": Contract(
        ("verdict", "title", "action", "confidence", "doubts", "flags", "evidence"),
        {0: "healthy, or still improving", 1: "it should not go on like this", 2: "it cannot be judged"},
        "results.csv of a job, its events, or trainer_state.json",
    ),
    "evaluate": Contract(
        ("model", "prompt", "grader", "items", "correct", "score", "low", "high", "at_least", "passed"),
        {**_MET, 1: "the score is below --at-least"},
        "questions with their answers, as for build",
        "tokens for every question that was not asked before",
    ),
    "compare": Contract(
        ("outcome", "verdict", "difference", "low", "high", "p_value", "not_worse", "must", "passed"),
        {0: "it is what it --must be", 1: "that is not shown"},
        "evaluations (evaluate -o), or JSON lines with id and score",
    ),
    "ask": Contract(
        ("question", "prompt", "answers"),
        {0: "answered", 130: "interrupted"},
        "a question on stdin, where none is given",
        "tokens for each model asked",
    ),
    "export": Contract(
        ("model", "folder", "to", "bytes", "commands", "parity", "note"), {0: "the folder is written"}
    ),
    "costs": Contract(
        ("project", "charges", "usd", "usd_per_month", "alarms"),
        {0: "no alarm", 1: "an alarm needs somebody"},
    ),
    "monitor": Contract(
        ("project", "model", "verdict", "alarms", "items", "score", "low", "high", "indicators"),
        {0: "quiet", 1: "an alarm needs somebody"},
        "--rows: questions with their answers, as for build; --completions: conversations, JSON lines",
        "tokens for every question, --limit of them at most",
    ),
    "replay": Contract(
        ("old", "new", "verdict", "difference", "low", "high", "p_value", "report"),
        {**_MET, 1: "a notebook failed, or the release check refuses the tuned model"},
        costs=_TRAINS,
    ),
    "cleanup": Contract(("deployments", "removed"), {0: "done; see removed"}),
    "check-connection": Contract(
        ("provider", "endpoint", "ok", "parts", "trainable"),
        {0: "nothing fails", 1: "something fails; parts says what and the way out"},
    ),
    "service start": Contract(),
    "service stop": Contract(),
    "service status": Contract(("running", "url", "pid"), {0: "it runs", 1: "it does not"}),
    "service run": Contract(codes={0: "stopped"}),
    "guide": Contract(),
}
"""What each command promises; only a command that has an entry is described with its JSON and exit codes."""

_HEAD = """\
# The workbench, driven by program

Every command prints exactly one JSON object on stdout with `--json`; progress, notes and errors go to stderr.
What the user can put right is one sentence on stderr and exit code 2, for every command; nothing has been
started by then. Repeating a command starts nothing twice: a job of the same content is found again, and an
answer that was paid for is kept.

## Money

- The local service (the default) charges for nothing. On `azure` and `openai`, commands with a line "costs"
  spend money, and a deployment on Azure (07_deploy) costs by the hour until somebody removes it.
- Before the first command that spends money, warn once: what it will do, the estimate (03_build_data, or the
  preflight of 04_launch), and the cap. Then go on without asking again for each step.
- Honour a cap: `budget` in project.toml, or `run -p COST_CAP=DOLLARS`. A job that would likely cost more is
  not launched; do not raise a cap that a person set.
- Never delete. `fix` writes a copy, `build` and `fix` refuse to overwrite, `jobs cancel` keeps the
  checkpoints. `cleanup` alone removes something, the deployments of a project: it asks first, and `--yes` is
  for the person who owns them to order, not for a program to decide.

## The usual way

    python -m workbench new NAME --train FILE --test FILE --json
    python -m workbench run --project NAME -p PROVIDER=local -p MODEL=nano    (a rehearsal: minutes, and free)
    python -m workbench run --project NAME --json
    python -m workbench projects NAME --json                       (done, next, runs, scores, dates)
    python -m workbench costs --project NAME --json                (paid so far, and what goes on costing)
"""


def guide_page(context: typer.Context) -> None:
    """Print one page for programs and coding agents: each command with its JSON, exit codes and costs."""
    typer.echo("\n".join([_HEAD, *_sections(context.find_root().command)]))


def _sections(app: Any) -> Iterator[str]:
    for subject, names in JOURNEY.items():
        yield f"## {subject}\n"
        for name in names:
            yield from (_described(path, each) for path, each in commands(app, name))


def commands(app: Any, *names: str) -> Iterator[tuple[str, Any]]:
    """Every command below ``app`` with its words, those of a group one by one; ``names`` picks some."""
    for name, command in app.commands.items():
        if names and name not in names:
            continue
        inner = getattr(command, "commands", None)
        yield from ((f"{name} {word}", each) for word, each in inner.items()) if inner else [(name, command)]


def _described(path: str, command: Any) -> str:
    """A command: its words, what it does, its options, its JSON, its exit codes, its costs."""
    contract = CONTRACTS.get(path)
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    options = [each for each in command.params if each.param_type_name == "option"]
    words = [str(each.name).upper() for each in arguments]
    words = [word if each.required else f"[{word}]" for word, each in zip(words, arguments, strict=True)]
    meaning = " ".join(str(command.help or "").split())
    lines = [f"### {' '.join([path, *words])}\n", meaning, ""]
    offered = [max(each.opts, key=len) for each in options if "--help" not in each.opts]
    if offered:
        lines.append(f"- options: {', '.join(offered)}")
    if contract is None:
        return "\n".join([*lines, ""])
    if contract.reads:
        lines.append(f"- reads: {contract.reads}")
    if contract.answers:
        lines.append(f"- JSON: {', '.join(contract.answers)}")
    codes = {**contract.codes, **({} if 2 in contract.codes else {2: "refused, with a sentence why"})}
    lines.append(f"- exit codes: {'; '.join(f'{code} {codes[code]}' for code in sorted(codes))}")
    if contract.costs:
        lines.append(f"- costs: {contract.costs}")
    return "\n".join([*lines, ""])
