"""What differs from machine to machine: environment variables, and the ``.env`` file that spares typing them.

A variable that is really set always wins. ``.env`` is looked for in the current
folder and upward, then in the repository's folder, and read anew at each
question: an edited line counts at once. What a run varies is a parameter.
"""

import os
from pathlib import Path

from workbench.errors import SetupError

VERSION = "0.1.0"

ROOT = Path(__file__).resolve().parent.parent
"""The repository's folder."""

DATA = ROOT / "data"
"""The samples that come with the workbench."""

_from_files: dict[str, str] = {}


def setting(name: str) -> str | None:
    """What does this machine say about ``name``? ``None`` when it says nothing, or blanks."""
    _read_env_files()
    return os.environ.get(name, "").strip() or None


def home() -> Path:
    """The folder that holds everything the workbench writes: ``WORKBENCH_HOME``, else ``.workbench``.

    A relative path counts from the repository's folder, wherever a notebook runs.
    """
    return (ROOT / Path(setting("WORKBENCH_HOME") or ".workbench").expanduser()).resolve()


def models_in(home: Path) -> Path:
    """The folder of base weights: ``WORKBENCH_MODELS``, which homes can share, else one in ``home``."""
    return (ROOT / Path(setting("WORKBENCH_MODELS") or home / "models").expanduser()).resolve()


def _read_env_files() -> None:
    # Into the environment, because azure-identity and the local service's process look there as well.
    from dotenv import dotenv_values, find_dotenv

    found: dict[str, str] = {}
    for path in (str(ROOT / ".env"), find_dotenv(usecwd=True)):
        try:
            values = dotenv_values(path, encoding="utf-8-sig") if Path(path).is_file() else {}
        except UnicodeDecodeError as error:
            raise SetupError(f"{path} is not UTF-8 text; save it as UTF-8.") from error
        found |= {name: value for name, value in values.items() if value}
    ours = {name for name, value in _from_files.items() if os.environ.get(name) == value}
    for name in ours - found.keys():
        del os.environ[name]
    _from_files.clear()
    for name, value in found.items():
        if name in ours or name not in os.environ:
            os.environ[name] = _from_files[name] = value
