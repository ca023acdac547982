"""What the notebooks are to be run with: parameters from flags and files, and which notebook knows which.

A name that no notebook knows stops everything before anything runs. What a
value means is for the notebook to say.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from workbench.errors import DataError, SetupError
from workbench.settings import ROOT

NOTEBOOKS = ROOT / "notebooks"

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
    if not notebooks:
        raise SetupError(f"{folder} holds no notebooks; run from a clone, installed as its README says.")
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
