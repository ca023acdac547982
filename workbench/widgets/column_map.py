"""Which column is the question, the answer, the cluster: guessed, shown with three rows, corrected, saved.

``columns.choice`` is what is chosen at this moment; the button writes it into the project's ``project.toml``,
which all notebooks read. Nothing waits for a click.
"""

from html import escape
from pathlib import Path
from typing import Any

import ipywidgets

from workbench.dataset.check.privacy import masked
from workbench.dataset.read import first_rows, read_header
from workbench.display import Window, table
from workbench.errors import DataError, WorkbenchError
from workbench.project import Project, state_task
from workbench.task import TASK_FILE, task_file
from workbench.widgets.questionnaire import own_keys

ROWS = 3
NONE = "(none)"
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
                raise DataError("Choose a column for the question and one for the answer first.")
            task = state_task(self._project, {"examples": str(self._path.resolve()), **chosen})
            said = f"✓ Saved in {TASK_FILE}: question {task.question}, answer {task.answer}"
            said += f", cluster {task.cluster}." if task.cluster else "."
        except WorkbenchError as error:
            said = f"✕ Not saved. {error}"
        self._said.value = f'<p role="status" class="mathjax_ignore">{escape(said)}</p>'


def map_columns(path: str | Path, project: Project | None = None) -> ColumnMap:
    """Show me which columns of a table are taken for what, and let me correct it in the project's task."""
    return ColumnMap(Path(path), project)
