"""A task by a form: its files, its columns (guessed, shown with three rows, corrected), instruction, grader.

``columns.choice`` is what is chosen at this moment; the button writes it into the project's ``project.toml``,
which all notebooks read. Nothing waits for a click.
"""

from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

import ipywidgets

from workbench.dataset.check.privacy import masked
from workbench.dataset.dataset import counted
from workbench.dataset.read import SUFFIXES, first_rows, read_header
from workbench.display import Window, table
from workbench.errors import DataError, WorkbenchError
from workbench.evaluation.graders.ready_made import grader
from workbench.project import Project, state_task
from workbench.settings import ROOT
from workbench.task import TASK_FILE, Setting, Task, sample_task, task_file
from workbench.widgets.questionnaire import own_keys

ROWS = 3
NONE = "(none)"
_CHOOSE = "Choose a column for the question and one for the answer first."
_ROLES = {
    "question": "Which column is the question?",
    "answer": "Which column is the right answer?",
    "cluster": "Which column is the cluster?",
}
_STYLE, _LAYOUT = {"description_width": "20em"}, ipywidgets.Layout(width="auto", max_width="42em")


class ColumnMap(Window, ipywidgets.VBox):  # type: ignore[misc]
    """The window; ``choice`` has the column of each role."""

    def __init__(self, path: Path, project: Project | None) -> None:
        """Begin with what the task says, else with what the names of the columns suggest."""
        self._path, self._project = path, project
        names, self._rows = first_rows(path, ROWS)
        self._names = tuple(filter(None, names or ()))
        self._stated = self._known()
        self.fields: dict[str, Any] = {}
        for role, asked in _ROLES.items():
            value = self._stated.get(role)
            known = (value,) if value and value not in self._names else ()  # a template such as "{title}"
            options = (*(() if value else (NONE,)), *known, *self._names)
            self.fields[role] = ipywidgets.Dropdown(
                options=options, value=value or NONE, description=asked, style=_STYLE, layout=_LAYOUT
            )
        self.save = ipywidgets.Button(description="Save in project.toml", icon="save", disabled=not project)
        self.save.layout.width = "16em"
        self._shown, self._said = ipywidgets.HTML(), ipywidgets.HTML()
        super().__init__(
            [self._shown, *(self.fields.values() if self._names else ()), self.save, self._said, *own_keys()]
        )
        for field in self.fields.values():
            field.observe(self._draw, names="value")
        self.save.on_click(self._save)
        self._draw()

    @property
    def choice(self) -> dict[str, str | None]:
        """The columns of question, answer and cluster; ``None`` where none is chosen."""
        return {role: None if field.value == NONE else field.value for role, field in self.fields.items()}

    def __repr__(self) -> str:
        """The file, and which column is what."""
        chosen = ", ".join(f"{role}: {column or 'none'}" for role, column in self.choice.items())
        return f"{self._path.name}: {chosen}"

    def _repr_html_(self) -> str:
        if not self._names:
            rows = [("no columns to choose", "its lines hold whole conversations")]
            return table(self._path.name, ("", ""), rows)
        roles: dict[str, list[str]] = {}
        for role, column in self.choice.items():
            roles.setdefault(column or "", []).append(role)
        named = [f"{name}\n▸ {' and '.join(roles[name])}" if name in roles else name for name in self._names]
        cells = [[masked(str(row.get(name, ""))) for name in self._names] for row in self._rows]
        return table(f"{self!r}. The first {len(cells)} rows:", named, cells)

    def _known(self) -> dict[str, str]:
        """What the task says of this file's columns, completed by what their names suggest."""
        stated: dict[str, str | None] = dict.fromkeys(_ROLES)
        if self._project is not None and task_file(self._project.name, self._project.path):
            task = self._project.task
            stated = {role: getattr(task, role) for role in _ROLES}
        try:
            guessed = read_header(self._path, question=stated["question"], answer=stated["answer"])
        except DataError:  # no usual names: a person chooses
            return {role: name for role, name in stated.items() if name and name in self._names}
        found = {**stated, "question": guessed.question, "answer": guessed.answer}
        return {role: name for role, name in found.items() if name}

    def _draw(self, _change: object = None) -> None:
        self._shown.value = self._repr_html_()
        self._said.value = ""

    def _save(self, _button: object) -> None:
        """Write the choice; a second click writes nothing new."""
        if self._project is None:
            return
        try:
            chosen = self.choice
            if not chosen["question"] or not chosen["answer"]:
                raise DataError(_CHOOSE)
            task = state_task(self._project, {"examples": str(self._path.resolve()), **chosen})
            said = f"✓ Saved in {TASK_FILE}: question {task.question}, answer {task.answer}"
            said += f", cluster {task.cluster}." if task.cluster else "."
        except WorkbenchError as error:
            said = f"✕ Not saved. {error}"
        self._said.value = _status(said)


def _status(said: str) -> str:
    return f'<p role="status" class="mathjax_ignore">{escape(said)}</p>' if said else ""


_FIELDS = {
    "examples": "File with the examples to learn from",
    "test": "File with the test, never trained on",
    "system": "Instruction before each question",
    "reference": "Text that explains the task (a file)",
    "grader": "What counts as right",
}
_GRADERS = ("exact", "normalised", "contains", "numeric")  # those that need nothing else
_FILES = "files"  # the folder in a project that takes what is uploaded


class TaskForm(Window, ipywidgets.VBox):  # type: ignore[misc]
    """The form of a project's task; the button writes ``project.toml``."""

    def __init__(self, project: Project) -> None:
        """Begin with what the project states already."""
        self._project = project
        self.columns: ColumnMap | None = None
        stated: Mapping[str, Setting] = self._stated or {"grader": "exact"}
        lying = [each for folder in (project.path / _FILES, Path.cwd()) for each in sorted(folder.glob("*"))]
        tables = tuple(str(each) for each in lying if each.suffix.lower() in SUFFIXES)
        offered = {"examples": tables, "test": tables, "grader": _GRADERS}
        self.fields: dict[str, Any] = {}
        for name, words in _FIELDS.items():
            kind = ipywidgets.Textarea if name == "system" else ipywidgets.Combobox
            options = {} if name == "system" else {"options": offered.get(name, ())}
            look = {"description": words, "style": _STYLE, "layout": _LAYOUT, "continuous_update": False}
            self.fields[name] = kind(value=str(stated.get(name) or ""), **look, **options)
        self.uploads = {
            name: ipywidgets.FileUpload(
                description=f"Upload the {name}",
                accept=",".join(SUFFIXES),
                layout=ipywidgets.Layout(width="16em"),
            )
            for name in ("examples", "test")
        }
        self.save = ipywidgets.Button(description="Save in project.toml", icon="save")
        self.save.layout.width = "16em"
        self._place, self._said = ipywidgets.VBox(), ipywidgets.HTML()
        files = [each for name, upload in self.uploads.items() for each in (self.fields[name], upload)]
        others = [self.fields[name] for name in ("system", "reference", "grader")]
        super().__init__([*files, self._place, *others, self.save, self._said, *own_keys()])
        self.fields["examples"].observe(self._look, names="value")
        for upload in self.uploads.values():
            upload.observe(self._uploaded, names="value")
        self.save.on_click(self._save)
        self._look()

    def __repr__(self) -> str:
        """The task in a line, or that there is none."""
        name = self._project.name
        return self._project.task.line if self._stated else f"Project {name} states no task yet."

    def _repr_html_(self) -> str:
        return self._project.task._repr_html_() if self._stated else _status(repr(self))

    @property
    def _stated(self) -> Mapping[str, Setting]:
        there = task_file(self._project.name, self._project.path)
        return self._project.task.facts if there else {}

    def _look(self, _change: object = None) -> None:
        """Show the columns of the examples, as soon as a file is named."""
        self.columns, said = None, ""
        if named := self.fields["examples"].value.strip():
            try:
                file = self._found(named)
                same = str(file.resolve()) == self._stated.get("examples")
                self.columns = ColumnMap(file, self._project if same else None)
            except WorkbenchError as error:
                said = f"✕ {error}"
        columns, shown = self.columns, tuple[Any, ...]()
        if columns and columns._names:
            shown = (columns._shown, *columns.fields.values())
            for field in columns.fields.values():
                field.observe(lambda _: self._said.set_trait("value", ""), names="value")
        self._place.children = shown
        self._said.value = _status(said)

    def _found(self, named: str) -> Path:
        """Where a relative path counts from, as in ``state_task``."""
        folders = (Path.cwd(), self._project.path, ROOT)
        places = [folder / Path(named).expanduser() for folder in folders]
        return next((place for place in places if place.is_file()), Path(named))

    def _uploaded(self, change: Mapping[str, Any]) -> None:
        for name, upload in self.uploads.items():
            if change["owner"] is upload and upload.value:
                sent = upload.value[0]
                try:
                    kept = self._project.save(f"{_FILES}/{Path(sent['name']).name}", bytes(sent["content"]))
                    self.fields[name].value = str(kept)
                except WorkbenchError as error:
                    self._said.value = _status(f"✕ {error}")

    def _save(self, _button: object) -> None:
        """Write the task; what is wrong with it is said, and nothing is written."""
        given: dict[str, Setting] = {name: field.value.strip() or None for name, field in self.fields.items()}
        try:
            if not given["examples"] or not given["test"]:
                raise DataError("Name a file with the examples and one with the test first.")
            grader(str(given["grader"] or "exact"))
            chosen = self.columns.choice if self.columns and self.columns._names else {}
            if chosen and not (chosen["question"] and chosen["answer"]):
                raise DataError(_CHOOSE)
            # What the form does not ask (target, budget, ...) stays; what is emptied in it goes.
            task = state_task(self._project, {**self._stated, **given, **chosen}, new=True)
            examples, test = task.read_examples(), task.read_test()
            said = (
                f"✓ Saved in {self._project.path / TASK_FILE}: {counted(len(examples), 'example')} and "
                f"{counted(len(test), 'test question')}. Now run the cells below."
            )
        except WorkbenchError as error:
            said = f"✕ Not saved. {error}"
        self._said.value = _status(said)


def task_form(project: Project, given: Mapping[str, Setting]) -> TaskForm | Task:
    """State the task of a project by a form, or by what is ``given``; a sample's task is only shown."""
    named = {name: value for name, value in given.items() if value is not None}
    if named or sample_task(project.name):
        task = state_task(project, named)
        if sample_task(project.name):
            return task
    return TaskForm(project)


def map_columns(path: str | Path, project: Project | None = None) -> ColumnMap:
    """Show me which columns of a table are taken for what, and let me correct it in the project's task."""
    return ColumnMap(Path(path), project)
