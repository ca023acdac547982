"""The house rules: floors, lightness, and what every room is held to."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import workbench
from workbench.settings import ROOT

PACKAGE = ROOT / "workbench"

# From the ground up; a room may import what lies below its floor, and its own parts.
FLOORS = (
    ("errors",),
    ("settings", "display", "jsonl_log"),
    ("catalog", "evaluation.graders"),
    ("dataset", "decide"),
    ("connect", "selftest", "project"),
    ("training", "evaluation", "review", "deploy"),
    ("report", "runner"),
    ("widgets",),
    ("cli",),
    ("__main__",),
)
FLOOR_OF = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
LOCAL_MAY_USE = ("workbench.errors", "workbench.settings", "workbench.catalog", "workbench.dataset")
LOCAL_MAY_USE += ("workbench.evaluation.graders", "workbench.local")
WITH_TORCH = ("training", "inference", "models")  # they load it, in processes of their own

MODULES = sorted(path for path in PACKAGE.rglob("*.py") if "__pycache__" not in path.parts)
TEXTS = [
    ROOT / name for name in ("README.md", "pyproject.toml", "requirements.txt", ".env.example", ".gitignore")
]
TEXTS += [*MODULES, *sorted((ROOT / "notebooks").glob("*.ipynb")), *sorted((ROOT / "data").rglob("*.py"))]


def name_of(path: Path) -> str:
    """``workbench/training/jobs.py`` is ``workbench.training.jobs``."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """Every name that a module imports, with its module; and whether inside a function."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inner = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
    }
    package = name_of(path) if path.name == "__init__.py" else name_of(path).rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, id(node) in inner) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = ".".join(package.split(".")[: len(package.split(".")) - node.level + 1])
            source = ".".join(filter(None, (above if node.level else "", node.module)))
            yield from ((f"{source}.{alias.name}", id(node) in inner) for alias in node.names)


def room_of(name: str) -> str:
    """Its first part below the package; the graders are a room of their own, below the training data."""
    return "evaluation.graders" if within(name, ("workbench.evaluation.graders",)) else name.split(".")[1]


def on_a_floor(path: Path) -> bool:
    """All but the front desk, which is above them, and the local service, which has a rule of its own."""
    return "local" not in path.parts and path != PACKAGE / "__init__.py"


def within(name: str, rooms: tuple[str, ...]) -> bool:
    return any(name == room or name.startswith(f"{room}.") for room in rooms)


def loaded_by(*modules: str) -> set[str]:
    """The modules in memory after a fresh interpreter has imported ``modules``."""
    code = f"import sys, {', '.join(modules)}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    return set(done.stdout.split())


@pytest.mark.parametrize("path", [path for path in MODULES if on_a_floor(path)], ids=name_of)
def test_imports_only_point_down(path):
    here = room_of(name_of(path))
    assert here in FLOOR_OF, f"{here} has no floor yet; give it one in FLOORS."
    for name, _ in imports(path):
        package, _, room = name.partition(".")
        room = room_of(name) if room else ""
        if package != "workbench" or room in (here, "local"):
            continue
        if here in ("cli", "__main__") and room in workbench.__all__:
            continue  # a shell has the same verbs as a notebook, from the same desk
        assert room in FLOOR_OF, f"{name} is taken from the front desk; take it from its room."
        assert FLOOR_OF[room] < FLOOR_OF[here], f"{name} is not below {here}."


@pytest.mark.parametrize("path", sorted((PACKAGE / "local").rglob("*.py")), ids=name_of)
def test_the_local_service_uses_the_pure_rooms_only(path):
    for name, _ in imports(path):
        if name.startswith("workbench."):
            assert within(name, LOCAL_MAY_USE), name


def test_only_connect_and_main_open_the_local_service_and_only_in_functions():
    for path in MODULES:
        for name, in_function in imports(path):
            if within(name, ("workbench.local",)) and not within(name_of(path), ("workbench.local",)):
                assert name_of(path) in ("workbench.connect", "workbench.__main__"), path
                assert in_function, f"{path} imports {name} at its head."


def test_importing_the_workbench_is_light():
    heavy = {
        "torch",
        "transformers",
        "pandas",
        "numpy",
        "plotly",
        "ipywidgets",
        "openai",
        "starlette",
        "dotenv",
    }
    assert loaded_by("workbench") & heavy == set()


def test_importing_the_workbench_takes_less_than_a_tenth_of_a_second():
    code = "import time; t = time.process_time(); import workbench; print(time.process_time() - t)"
    runs = (subprocess.check_output([sys.executable, "-c", code], cwd=ROOT) for _ in range(5))
    assert min(float(seconds) for seconds in runs) < 0.1


def test_the_pure_floors_load_neither_client_nor_tables_nor_torch():
    pure = [name_of(path) for path in MODULES if name_of(path).split(".")[-1] != "__main__"]
    pure = [name for name in pure if name.split(".")[1:2] and name.split(".")[1] in sum(FLOORS[:4], ())]
    assert {"workbench.errors", "workbench.catalog"} <= set(pure)
    assert loaded_by(*pure) & {"torch", "transformers", "openai", "pandas", "starlette"} == set()


def test_the_server_side_of_the_local_service_never_loads_torch():
    local = (name_of(path) for path in MODULES if within(name_of(path), ("workbench.local",)))
    with_torch = tuple(f"workbench.local.{part}" for part in WITH_TORCH)
    rooms = [name for name in local if not within(name, with_torch)]
    assert "workbench.local.api.app" in rooms
    assert loaded_by(*rooms) & {"torch", "transformers"} == set()


def test_finding_and_starting_the_service_loads_no_server():
    assert loaded_by("workbench.local.process") & {"torch", "starlette", "uvicorn", "sqlite3"} == set()


@pytest.mark.parametrize("name", workbench.__all__)
def test_every_public_name_is_there(name):
    assert getattr(workbench, name) is not None
    assert name in dir(workbench)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        workbench.nothing  # noqa: B018


def test_the_front_desk_hands_out_connect_although_a_module_has_its_name():
    code = "import workbench.connect, workbench; print(callable(workbench.connect))"
    assert subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, text=True) == "True\n"


def test_the_version_is_told_once():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert "version" in project.get("dynamic", ()) or project["version"] == workbench.__version__


def environment_names(path: Path) -> Iterator[str]:
    """The variables that a module asks for: ``os.environ``, ``os.getenv``, ``setting``, a table's rows."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        name: ast.expr | None = None
        if isinstance(node, ast.Subscript) and ast.unparse(node.value).endswith("environ"):
            name = node.slice if isinstance(node.ctx, ast.Load) else None
        elif isinstance(node, ast.Call) and node.args:
            asked = ast.unparse(node.func)
            if asked.endswith(("environ.get", "getenv")) or asked.split(".")[-1] == "setting":
                name = node.args[0]
        elif isinstance(node, ast.keyword) and (node.arg or "").endswith("_setting"):
            name = node.value
        if isinstance(name, ast.Constant) and isinstance(name.value, str):
            yield name.value


def test_every_environment_variable_is_in_the_example():
    read = {name for path in MODULES for name in environment_names(path)}
    assert {"WORKBENCH_HOME", "AZURE_OPENAI_ENDPOINT"} <= read
    listed = set(
        re.findall(r"^#?([A-Z][A-Z0-9_]+)=", (ROOT / ".env.example").read_text(encoding="utf-8"), re.M)
    )
    assert read - listed - {"TMPDIR"} == set()


@pytest.mark.parametrize("path", [path for path in TEXTS if path.exists()], ids=lambda path: path.name)
def test_nothing_points_outside_the_repository(path):
    text = path.read_text(encoding="utf-8")
    for foreign in ("../", "/home/", "/root/", "/tmp/", "/Users/"):
        assert foreign not in text


def test_every_room_has_a_sign_on_its_door():
    for path in MODULES:
        assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), f"{path} has no docstring."


@pytest.mark.parametrize(
    "command",
    [("ruff", "check", "."), ("ruff", "format", "--check", "."), ("mypy",)],
    ids=["ruff check", "ruff format", "mypy --strict"],
)
def test_the_tools_find_nothing(command):
    done = subprocess.run(
        [sys.executable, "-m", *command], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stdout + done.stderr
