"""The task: what a project is about, stated once in its ``project.toml``.

Files, columns, instruction, grader, target and budget, each with its meaning; every setting is checked, and
the first that is wrong is named with the file and the way out. Nothing here writes a file.
"""

import json
import math
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from html import escape
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias

from workbench.catalog.models import base_name
from workbench.catalog.providers import provider_of
from workbench.display import Facts, folded_table
from workbench.errors import DataError, SetupError, did_you_mean
from workbench.jsonl_log import JSON, read_text
from workbench.settings import DATA, ROOT, setting

if TYPE_CHECKING:
    from openai import OpenAI

    from workbench.dataset.dataset import Dataset

# A relative path counts from the folder that project.toml lies in, else from the repository's folder.
# A sample brings its own project.toml (``data/gql/project.toml``): a project of that name needs none.

TASK_FILE = "project.toml"
Setting: TypeAlias = "str | float | Mapping[str, JSON] | None"
_GRADER_FILE = re.compile(r"(.+\.(?:py|json))(:\w+)?", re.DOTALL)  # mine.py, mine.json, mine.py:valid


def _stated(meaning: str, *, kind: str = "text", parameter: str = "", default: Any = None) -> Any:
    """A setting of ``project.toml``; ``parameter`` is what notebooks called it when each had its own."""
    return field(default=default, metadata={"meaning": meaning, "kind": kind, "parameter": parameter})


@dataclass(frozen=True, repr=False)
class Task(Facts):
    """What a project is about: its files and columns, its instruction, its grader, its target.

    Paths are absolute. What ``project.toml`` does not say is ``None``, or has the default given here.
    """

    stated_in: Path
    """The ``project.toml`` that this was read from."""
    examples: str = _stated(
        "the examples to learn from: CSV, Excel, Parquet or JSONL", kind="file", parameter="TRAIN_CSV"
    )
    test: str = _stated("the test set, never trained on: such a file", kind="file", parameter="TEST_CSV")
    validation: str | None = _stated(
        "examples to watch the training with, such a file; without one, some are kept back", kind="file"
    )
    prompt_examples: str | None = _stated(
        "the examples that prompts show, if other than those to learn from", kind="file"
    )
    question: str | None = _stated('the column with the question, or a template like "{title}: {body}"')
    answer: str | None = _stated("the column with the right answer")
    cluster: str | None = _stated("the column that says which questions of the test belong together")
    group: str | None = _stated("the column (customer, document) whose rows stay on one side of a split")
    gold: str | None = _stated("the column of the test with the passage that holds the answer")
    system: str | None = _stated("the short instruction in front of every question")
    reference: str | None = _stated("a text file that explains the task, for the prompt", kind="file")
    documents: str | None = _stated(
        "a folder of texts, or a table of them, to look answers up in", kind="file"
    )
    grader: str = _stated(
        'what is right: "exact", "normalised" and others, or your own .py or .json file',
        kind="grader",
        default="exact",
    )
    format_grader: str | None = _stated(
        "a second grader: is the answer well formed, right or not?", kind="grader", parameter="VALID"
    )
    well_formed: str | None = _stated("what is wrong with a well-formed wrong answer, if always the same")
    preference_pairs: str | None = _stated(
        "pairs of a better and a worse answer to learn a preference from, such a file", kind="file"
    )
    preferred: str | None = _stated("the column of such a file with the better answer")
    rejected: str | None = _stated("the column of such a file with the worse answer")
    preference_grader: str | None = _stated(
        "a grader of what is preferred beside being right: a tone, a style", kind="grader"
    )
    reinforcement_answer: str | None = _stated(
        "the column with what a reinforcement job is about, such as a label, if other than answer"
    )
    reinforcement_system: str | None = _stated(
        "the instruction in front of a reinforcement job's questions, if other than system"
    )
    reinforcement_grader: str | None = _stated(
        "what grades the answers of a reinforcement job, if other than grader", kind="grader"
    )
    reinforcement_rubric: str | None = _stated(
        "another grader, by which a reinforcement job is judged", kind="grader"
    )
    target: float = _stated("the score that is good enough, from 0 to 1", kind="share", default=0.85)
    rehearsal: float | None = _stated(
        "rows of the base model's own answers to everyday prompts, mixed into the training data against "
        "forgetting: 0.2 is 20 for 100 examples",
        kind="share",
    )
    budget: float | None = _stated("US dollars that one training job may cost", kind="dollars")
    provider: str | None = _stated('"local", "azure" or "openai", for this project')
    model: str | None = _stated("the base model, for this project")
    situation: Mapping[str, JSON] = field(default_factory=dict)
    """The table ``[situation]``: answers to the questions of 02_decide that no notebook can measure."""

    @property
    def instructions(self) -> str | None:
        """The instruction with the reference text behind it; ``None`` without a reference text."""
        if self.reference is None:
            return None
        text = read_text(Path(self.reference))
        return f"{self.system}\n\n{text}" if self.system else text

    @property
    def prompt(self) -> dict[str, JSON] | None:
        """What the tuned model is asked with: the instruction, then a question; ``None`` without one."""
        if self.system is None:
            return None
        roles = (("system", self.system), ("user", "{question}"))
        return {"messages": [{"role": role, "content": text} for role, text in roles]}

    def read_examples(self) -> "Dataset":
        """Read the examples to learn from."""
        return self._read(self.examples)

    def read_prompt_examples(self) -> "Dataset":
        """Read the examples that prompts may show."""
        return self._read(self.prompt_examples or self.examples)

    def read_test(self, first: int | None = None) -> "Dataset":
        """Read the test set, or its ``first`` questions only."""
        test = self._read(self.test)
        return test if first is None else test.take(first)

    def read_validation(self) -> "Dataset | None":
        """Read the validation examples, where the task has any."""
        return None if self.validation is None else self._read(self.validation)

    def read_pairs(self) -> "Dataset":
        """Read the preference pairs.

        Where they have no column of the question's name, the only one that is left is taken, else guessed.
        """
        from workbench.dataset.read import column_names, read

        if self.preference_pairs is None:
            raise DataError(
                f"{self.stated_in} names no file of pairs; add a line like preference_pairs = "
                '"pairs.csv" with the columns preferred and rejected, or take another source of pairs.'
            )
        names = column_names(self.preference_pairs)
        known = names is None or self.question in names or "{" in (self.question or "")
        left = [name for name in names or () if name not in (self.preferred, self.rejected)]
        asked = self.question if known else left[0] if len(left) == 1 else None
        pairs = read(
            self.preference_pairs,
            question=asked,
            system=self.system,
            preferred=self.preferred,
            rejected=self.rejected,
        )
        if any(example.method != "dpo" for example in pairs):
            has = f"; it has {', '.join(names)}" if names else ""
            raise DataError(
                f"{pairs.name} holds no preference pairs: name the columns with the better and the worse "
                f"answer, preferred and rejected, in {self.stated_in.name}{has}."
            )
        return pairs

    def check(self, client: "OpenAI", *models: str) -> "TaskCheck":
        """Check before the first request that costs something: files, columns, graders, models.

        Reads the examples and the test whole, loads every grader, lets the grader grade the first right
        answers, and asks the service for each of ``models``. Raises ``DataError`` or ``SetupError``, which
        say what to do. Where models answer through deployments (Azure), their names are not checked: the
        service does not list its deployments to who holds a key.
        """
        from workbench.dataset.dataset import counted
        from workbench.evaluation.graders.ready_made import grader

        _columns(self)
        examples, test = self.read_examples(), self.read_test()
        self.read_validation()
        own = (self.format_grader, self.preference_grader, self.reinforcement_grader)
        for name in filter(None, (*own, self.reinforcement_rubric)):
            grader(name)
        notes = _right_answers(grader(self.grader), test)
        for model in models:
            find_model(client, model)
        service = provider_of(client)
        asked = (
            ""
            if service.deploy_before_use or not models
            else f", and {service.name} has {' and '.join(models)}"
        )
        sentence = (
            f"{counted(len(examples), 'example')} and {counted(len(test), 'test question')} can be read, "
            f"the grader {Path(self.grader).name} grades{asked}."
        )
        return TaskCheck(sentence, notes)

    @property
    def facts(self) -> dict[str, Setting]:
        """What is stated or has a default, by the names of ``project.toml``."""
        values = ((name, getattr(self, name)) for name in (*(each.name for each in SETTINGS), "situation"))
        return {name: value for name, value in values if value is not None and value != {}}

    def answers(self, **given: JSON) -> dict[str, JSON]:
        """What is known without measuring: what is given, else what ``[situation]`` says, else the usual.

        ``None`` gives nothing. The usual: quality is why you ask, 100,000 requests come a month, the task
        stays the same for a year, answers need no private facts, the examples are like the requests in use.
        """
        stated = {name: value for name, value in given.items() if value is not None}
        return {"target": self.target, **_USUAL, **self.situation, **stated}

    def to_toml(self, folder: Path) -> str:
        """Write it for a file in ``folder``: each setting with its meaning, unset ones as comments."""
        lines = [
            "# What this project is about. All notebooks read it; python -m workbench run can change it",
            "# for one run (-p GRADER exact). A relative path counts from this file's folder, else from the",
            "# workbench's.",
        ]
        stated = self.facts
        for each in SETTINGS:
            lines += ["", f"# {each.metadata['meaning']}"]
            value = stated.get(each.name)
            if isinstance(value, str) and each.metadata["kind"] in ("file", "grader"):
                value = _shortened(value, folder)
            lines.append(f"# {each.name} =" if value is None else f"{each.name} = {_toml_value(value)}")
        return "\n".join([*lines, *_situation_lines(self.situation)]) + "\n"

    @property
    def line(self) -> str:
        """The task in a line: the files, the columns, the grader, the target."""
        asks = f"{self.question or 'conversations'} → {self.answer}" if self.answer else "conversations"
        return (
            f"The task: learn {asks} from {Path(self.examples).name}, tested on {Path(self.test).name}, "
            f"graded by {Path(self.grader).name}, good enough at {100 * self.target:g} %."
        )

    def _repr_html_(self) -> str:
        facts = self.facts
        rows = [(s.name, facts[s.name], s.metadata["meaning"]) for s in SETTINGS if s.name in facts]
        where = ("stated in", self.stated_in, "edit it there; all notebooks read it")
        return folded_table(self.line, ("setting", "value", "meaning"), [*rows, where])

    def _read(self, path: str) -> "Dataset":
        from workbench.dataset.read import read

        return read(path, question=self.question, answer=self.answer, system=self.system)


@dataclass(frozen=True, repr=False)
class TaskCheck:
    """What was found before the first request; what stops a run is raised instead."""

    sentence: str
    notes: tuple[str, ...] = ()
    """What is worth knowing, and stops nothing."""

    def __repr__(self) -> str:
        """The sentence with a mark, and a note a line."""
        return "\n".join([f"✓ {self.sentence}", *(f"! {note}" for note in self.notes)])

    def _repr_html_(self) -> str:
        lines = "<br>".join(escape(line) for line in repr(self).splitlines())
        return f'<p class="mathjax_ignore" role="status">{lines}</p>'


RIGHT_ANSWERS = 5  # of the test are graded by the check: enough to see that a grader fits, and soon done


def _right_answers(grader: Mapping[str, object], test: "Dataset") -> tuple[str, ...]:
    """Let the grader grade right answers; one that it gives no score to is an error.

    A grader that asks a model is left out, as its answers are paid for.
    """
    from workbench.evaluation.graders.grader_types import needs
    from workbench.evaluation.graders.grading import graded, passes

    if "model" in needs(grader):
        return ()
    known = [example for example in test.take(RIGHT_ANSWERS) if example.answer] if len(test) else []
    wrong = []
    for example in known:
        answer = example.answer.strip()
        item = {"question": example.question, **example.more, "answer": answer, "origin": example.origin}
        grade = graded(grader, answer, item)
        if not grade.graded:
            raise DataError(
                f"The grader {grader['name']} cannot grade the right answer of {example.origin}, "
                f"{answer[:60]!r}: {grade.problem}. Choose a grader that fits such answers (exact, "
                "normalised, contains, or a file of your own)."
            )
        if not passes(grader, grade.score):
            wrong.append(f"{example.origin}: {grade.reason}" if grade.reason else example.origin)
    if not wrong:
        return ()
    of = f"{len(wrong)} of the first {len(known)} right answers"
    return (f"The grader {grader['name']} takes {of} for wrong ({wrong[0]}); look at grader and test.",)


def find_model(client: "OpenAI", model: str) -> None:
    """Ask the service for the model; where it has none of this name, say which it has."""
    import openai

    if provider_of(client).deploy_before_use:
        return
    try:
        client.models.retrieve(model)
    except openai.NotFoundError:
        names = sorted((each.id for each in client.models.list()), key=lambda name: base_name(name) != name)
        there_are = ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if names[_NAMED:] else "")
        raise SetupError(
            f"{provider_of(client).name} has no model {model}.{did_you_mean(model, names)} "
            f"It has {there_are}; name one of them."
        ) from None


_NAMED = 12  # models that an error lists

_USUAL: Mapping[str, JSON] = MappingProxyType(
    {
        "motive": "quality",
        "requests_per_month": 100_000,
        "task_changes_every_days": 365,
        "private_knowledge": False,
        "representative": True,
    }
)

SETTINGS = tuple(each for each in fields(Task) if each.metadata)
"""The settings of ``project.toml``, in its order; each with its meaning, kind and former parameter."""

PARAMETERS: Mapping[str, str] = MappingProxyType(
    {each.name.upper(): each.name for each in SETTINGS if each.name not in ("provider", "model", "rehearsal")}
    | {str(each.metadata["parameter"]): each.name for each in SETTINGS if each.metadata["parameter"]}
)
"""What ``run -p`` calls the settings: their names in capitals, and what notebooks used to call them."""


def samples() -> tuple[str, ...]:
    """The names of the samples that bring a task with them: ``("gql", "support")``."""
    return tuple(sorted(path.parent.name for path in DATA.glob(f"*/{TASK_FILE}")))


def sample_task(name: str) -> Path | None:
    """The ``project.toml`` of the sample of this name, if there is one."""
    path = DATA / name / TASK_FILE
    return path if path.is_file() else None


def stated_task(file: Path, given: Mapping[str, Setting], *, new: bool = False) -> Task | None:
    """What ``file`` says already, and what is given; ``None`` where that changes nothing.

    Files must be there, a relative path counts from the current folder as well, and columns that are not
    named are guessed. ``new`` forgets what the file said.
    """
    before = {} if new or not file.is_file() else _with_paths(_settings_in(file), file.parent, ROOT)
    values = _changed(before, given, file.parent)
    task = _task(values, file)
    if before == values and not new:
        return None
    question, answer = _columns(task)
    return replace(task, question=question, answer=answer)


def changed_task(task: Task, given: Mapping[str, Setting]) -> Task:
    """The task for one run: with the settings in ``given`` instead; ``None`` takes a setting away.

    Nothing is written. A relative path counts from the current folder as well.
    """
    values = _changed(task.facts, given, task.stated_in.parent)
    changed = _task({name: value for name, value in values.items() if value is not None}, task.stated_in)
    _columns(changed)
    return changed


def _changed(before: Mapping[str, JSON], given: Mapping[str, JSON], folder: Path) -> dict[str, JSON]:
    """The settings with what is given in their place; other examples are shown by prompts as well."""
    values = {**before, **_with_paths(given, Path.cwd(), folder, ROOT)}
    if "examples" in given and "prompt_examples" not in given:
        values.pop("prompt_examples", None)
    return values


def task_file(name: str, folder: Path) -> Path | None:
    """Where the task of project ``name`` is stated: for this one run, in its folder, or with the sample."""
    run = Path(setting("WORKBENCH_TASK") or "")
    stated = folder / TASK_FILE
    if run.is_file() and run.resolve().is_relative_to(folder.resolve()):
        return run
    return stated if stated.is_file() else sample_task(name)


def read_task(file: Path) -> Task:
    """Read and check a ``project.toml``."""
    return _task(_settings_in(file), file)


def _settings_in(file: Path) -> dict[str, JSON]:
    try:
        return tomllib.loads(read_text(file))
    except tomllib.TOMLDecodeError as error:
        raise DataError(f'{file} is not TOML: {error}. A setting is a line like question = "text".') from None


def _task(values: Mapping[str, JSON], file: Path) -> Task:
    """Check every setting; the first that is wrong is named with the file and the way out."""
    known = {each.name: str(each.metadata["kind"]) for each in SETTINGS}
    values = dict(values)
    stated = values.pop("situation", {})
    for name in values:
        if name not in known:
            meant = did_you_mean(name, known)
            raise DataError(f"{file} has no use for '{name}'.{meant} Its settings are {', '.join(known)}.")
    for name in ("examples", "test"):
        if name not in values:
            raise DataError(f'{file} does not say {name}; add a line like {name} = "{name}.csv".')
    checked = {name: _value(name, value, known[name], file) for name, value in values.items()}
    return Task(file, **checked, situation=_situation(stated, file))


def _situation(stated: JSON, file: Path) -> Mapping[str, JSON]:
    """The table ``[situation]``, each answer checked as the form of 02_decide does."""
    from workbench.decide.situation import situation

    if not isinstance(stated, Mapping):
        raise DataError(f'{file}: situation is {stated!r}; write a table: [situation], then motive = "cost".')
    try:
        return situation(stated).facts
    except DataError as error:
        raise DataError(f"{file}, [situation]: {error}") from None


def _situation_lines(stated: Mapping[str, JSON]) -> list[str]:
    """The table ``[situation]`` with every question; those without an answer as comments."""
    from workbench.decide.situation import questions

    lines = [
        "",
        "# What 02_decide asks and no notebook measures; an answer here counts more than a measurement.",
        "[situation]",
    ]
    for name, question in questions().items():
        if hasattr(Task, name) and name not in stated:
            continue  # a setting of the task already
        value = f"{name} = {_toml_value(stated[name])}" if name in stated else f"# {name} ="
        lines.append(f"{value}  # {question}")
    return lines


def _value(name: str, value: JSON, kind: str, file: Path) -> Any:
    if kind in ("share", "dollars"):
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
            raise DataError(f"{file}: {name} is {value!r}; give a number such as 0.85.")
        if kind == "share" and value > 1:
            raise DataError(f"{file}: {name} is {value!r}; give a share from 0 to 1, such as 0.85.")
        return float(value)
    if not isinstance(value, str) or not value.strip():
        raise DataError(f'{file}: {name} is {value!r}; give a text in quotes, such as {name} = "…".')
    if kind == "text":
        return value
    folders = (file.parent, ROOT)
    found = _found(value, kind, folders)
    if found is None:
        looked = " and in ".join(dict.fromkeys(map(str, folders)))
        raise DataError(f"{file}: {name} is '{value}', and no such file is in {looked}; correct the path.")
    return found


def _found(value: str, kind: str, folders: Iterable[Path]) -> str | None:
    """The absolute path of a file that is there; a grader's name as it is; ``None`` for what is missing."""
    grader = _GRADER_FILE.fullmatch(value) if kind == "grader" else None
    if kind == "grader" and grader is None:
        return value
    path, function = (grader[1], grader[2] or "") if grader else (value, "")
    places = (folder / Path(path).expanduser() for folder in folders)
    return next((f"{place.resolve()}{function}" for place in places if place.exists()), None)


def _with_paths(given: Mapping[str, JSON], *folders: Path) -> dict[str, JSON]:
    """What is given, with every path made absolute that is found; the others stay for the check to name."""
    values = dict(given)
    kinds = {each.name: str(each.metadata["kind"]) for each in SETTINGS}
    for name, value in given.items():
        if kinds.get(name) in ("file", "grader") and isinstance(value, str) and value:
            values[name] = _found(value, kinds[name], folders) or value
    return values


def _columns(task: Task) -> tuple[str | None, str | None]:
    """The columns of question and answer, guessed where they are not named.

    Every column that the task names must be in its file: an error here costs nothing, one in the middle of a
    run does.
    """
    from workbench.dataset.read import read_header

    if task.preference_pairs is not None:
        task.read_pairs()
    examples = read_header(task.examples, question=task.question, answer=task.answer)
    columns = {"question": examples.question, "answer": examples.answer}
    test = read_header(task.test, **columns)
    for path in filter(None, (task.validation, task.prompt_examples)):
        read_header(path, **columns)
    named = {"cluster": (task.test, test), "gold": (task.test, test), "group": (task.examples, examples)}
    named |= {"reinforcement_answer": (task.examples, examples)}
    for name, (path, header) in named.items():
        column = getattr(task, name)
        if column is not None and header.names is not None and column not in header.names:
            raise DataError(
                f"{Path(path).name} has no column {column!r}, which the task names as {name}; "
                f"it has {', '.join(header.names)}."
            )
    return examples.question, examples.answer


def _toml_value(value: JSON) -> str:
    # A JSON string is a TOML string, but for DEL, which TOML wants escaped.
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{name} = {_toml_value(each)}" for name, each in value.items()) + "}"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _shortened(path: str, folder: Path) -> str:
    """Relative to the project's or the repository's folder where it lies in one, so that both can move."""
    for inside in (folder, ROOT):
        if Path(path).is_absolute() and Path(path).is_relative_to(inside):
            return Path(path).relative_to(inside).as_posix()
    return path
