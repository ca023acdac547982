"""The house rules: which layer imports which, lightness, and what every module is held to."""

import ast
import io
import json
import re
import statistics
import subprocess
import sys
import tokenize
import tomllib
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import workbench
from workbench.settings import ROOT

PACKAGE = ROOT / "workbench"

# From the ground up; a folder or module may import what lies below its layer, and its own parts.
FLOORS = (
    ("errors",),
    ("settings", "jsonl_log"),
    ("display",),
    ("catalog",),
    ("evaluation.graders",),
    ("dataset", "decide"),
    ("task",),
    ("connect", "project"),
    ("training", "evaluation", "review", "deploy", "connection_check", "drift"),
    ("runner", "costs", "export"),
    ("widgets",),
    ("report", "monitor"),
    ("replay",),
    ("cli",),
    ("__main__",),
)
FLOOR_OF = {part: number for number, parts in enumerate(FLOORS) for part in parts}
LOCAL_MAY_USE = ("workbench.errors", "workbench.settings", "workbench.catalog", "workbench.dataset")
LOCAL_MAY_USE += ("workbench.evaluation.graders", "workbench.local")
WITH_TORCH = ("training", "inference", "models")  # they load it, in processes of their own

MODULES = sorted(path for path in PACKAGE.rglob("*.py") if "__pycache__" not in path.parts)
TEXTS = [
    ROOT / name for name in ("README.md", "pyproject.toml", "requirements.txt", ".env.example", ".gitignore")
]
TEXTS += sorted(ROOT.glob("*/README.md"))
TEXTS += [*MODULES, *sorted((ROOT / "notebooks").glob("*.ipynb")), *sorted((ROOT / "data").rglob("*.py"))]


def name_of(path: Path) -> str:
    """``workbench/training/jobs.py`` is ``workbench.training.jobs``."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def imports(path: Path) -> tuple[tuple[str, bool], ...]:
    """Every name that a module imports, with its module; and whether inside a function."""
    return tuple(found_imports(path))


def found_imports(path: Path) -> Iterator[tuple[str, bool]]:
    tree = tree_of(path)
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


def part_of(name: str) -> str:
    """Its first part below the package; the graders are a layer of their own, below the training data."""
    return "evaluation.graders" if within(name, ("workbench.evaluation.graders",)) else name.split(".")[1]


def on_a_floor(path: Path) -> bool:
    """All but the public API, which is above them, and the local service, which has a rule of its own."""
    return "local" not in path.parts and path != PACKAGE / "__init__.py"


def within(name: str, parts: tuple[str, ...]) -> bool:
    return any(name == part or name.startswith(f"{part}.") for part in parts)


def loaded_by(*modules: str) -> set[str]:
    """The modules in memory after a fresh interpreter has imported ``modules``."""
    code = f"import sys, {', '.join(modules)}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    return set(done.stdout.split())


@pytest.mark.parametrize("path", [path for path in MODULES if on_a_floor(path)], ids=name_of)
def test_imports_only_point_down(path):
    here = part_of(name_of(path))
    assert here in FLOOR_OF, f"{here} has no floor yet; give it one in FLOORS."
    for name, _ in imports(path):
        package, _, part = name.partition(".")
        part = part_of(name) if part else ""
        if package != "workbench" or part in (here, "local"):
            continue
        if here in ("cli", "__main__") and part in workbench.__all__:
            continue  # a shell has the same verbs as a notebook, from the same place
        assert part in FLOOR_OF, f"{name} is taken from the public API; take it from its module."
        assert FLOOR_OF[part] < FLOOR_OF[here], f"{name} is not below {here}."


@pytest.mark.parametrize("path", sorted((PACKAGE / "local").rglob("*.py")), ids=name_of)
def test_the_local_service_uses_the_pure_layers_only(path):
    for name, _ in imports(path):
        if name.startswith("workbench."):
            assert within(name, LOCAL_MAY_USE), name


def test_only_connect_main_and_export_open_the_local_service_and_only_in_functions():
    for path in MODULES:
        for name, in_function in imports(path):
            if within(name, ("workbench.local",)) and not within(name_of(path), ("workbench.local",)):
                assert name_of(path) in ("workbench.connect", "workbench.__main__", "workbench.export"), path
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
    pure = [name for name in pure if name.split(".")[1:2] and name.split(".")[1] in sum(FLOORS[:5], ())]
    assert {"workbench.errors", "workbench.catalog"} <= set(pure)
    assert loaded_by(*pure) & {"torch", "transformers", "openai", "pandas", "starlette"} == set()


def test_the_server_side_of_the_local_service_never_loads_torch():
    local = (name_of(path) for path in MODULES if within(name_of(path), ("workbench.local",)))
    with_torch = tuple(f"workbench.local.{part}" for part in WITH_TORCH)
    parts = [name for name in local if not within(name, with_torch)]
    assert "workbench.local.api.app" in parts
    assert loaded_by(*parts) & {"torch", "transformers"} == set()


def test_finding_and_starting_the_service_loads_no_server():
    assert loaded_by("workbench.local.process") & {"torch", "starlette", "uvicorn", "sqlite3"} == set()


@pytest.mark.parametrize("name", workbench.__all__)
def test_every_public_name_is_there(name):
    assert getattr(workbench, name) is not None
    assert name in dir(workbench)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        workbench.nothing  # noqa: B018


def test_the_public_api_gives_connect_although_a_module_has_its_name():
    code = "import workbench.connect, workbench; print(callable(workbench.connect))"
    assert subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, text=True) == "True\n"


def test_a_word_stays_a_function_when_a_module_of_its_name_is_loaded():
    code = (
        "import workbench as wb, workbench.review, workbench.decide.decision;"
        "print(wb.review.__module__, wb.decide.__module__, wb.connect.__module__)"
    )
    said = subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, text=True)
    assert said == "workbench.widgets.row_review workbench.decide.decision workbench.connect\n"


def test_the_public_words_are_about_sixty_sorted_and_grouped():
    assert workbench.__all__ == sorted(workbench.__all__)
    assert 55 <= len(workbench.__all__) <= 80
    grouped = [word for words in workbench.WORDS.values() for word in words]
    assert sorted([*grouped, "DATA", "ROOT", "__version__"]) == workbench.__all__
    listed = repr(workbench.about())
    assert all(word in listed for word in grouped)


def test_the_version_stands_in_one_place():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert "version" in project.get("dynamic", ()) or project["version"] == workbench.__version__


def environment_names(path: Path) -> Iterator[str]:
    """The variables that a module asks for: ``os.environ``, ``os.getenv``, ``setting``, a table's rows."""
    for node in ast.walk(tree_of(path)):
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
    if path.name == "README.md" and path.parent != ROOT:
        text = re.sub(r"\]\(\.\./(?!\.\.)", "](", text)  # a link to a neighbour; test_readme.py follows it
    for foreign in ("../", "/home/", "/root/", "/tmp/", "/Users/"):
        assert foreign not in text


def test_every_module_says_in_a_docstring_what_it_is_for():
    for path in MODULES:
        assert ast.get_docstring(tree_of(path)), f"{path} has no docstring."


# The house in figures: what fits in one head. A bound above its aim is the number of today, and only falls.

# 176, and for preferences, reinforcement, rehearsal and lineage 7; deployment and costs 3; the result page 4;
# slices, playground, the project's page, the guide, windows on problems and columns, and their base 8;
# an example as a model sees it 1; checking a connection and its refusals 2; older paths 1; export 2; watching
# a model in use, drift and replay 3.
FILES = 207
# To be 28,000 and what these took, 10,900; without blanks, comments and docstrings.
CODE_LINES = 42_400
MEDIAN = range(180, 301)
NINETIETH_PERCENTILE = 500
SHORTEST = 60
PUBLIC_WORDS = 71
# A module with one caller, or shorter than SHORTEST, says in its docstring why it is a file: "apart because".
REASON = re.compile(r"\bapart because\b", re.I)
# Entries, called by their table alone: verbs of the shell, routes, windows, graders shipped as text.
SOURCES = "workbench.evaluation.graders.sources"
ENTRIES = ("workbench.cli", "workbench.local.api", "workbench.widgets", SOURCES)
DEEPER = {SOURCES: "no modules of ours, but the text of graders, sent as it is"}
SAME_FILE_NAME = {
    "__main__": "Python's own name: `python -m`",
    "evaluate": "the verb, and the words of a shell around it",
    "jobs": "starting them, the words of a shell around that, and the rows of the service's database",
    "checkpoints": "choosing one, and the service's files of them",
    "rules": "of a row, and of a decision: both are lists of rules",
    "methods": "the table of training methods, and what each asks of a row",
}
SAME_CLASS_NAME = {
    "Model": "an entry of the catalogue, and of the API's list of models",
}


def lines_of(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def code_lines_of(path: Path) -> int:
    """Lines with code: no blanks, no comments, no docstrings."""
    text = path.read_text(encoding="utf-8")
    strings = [
        statement
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        for statement in node.body
        if isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    ]
    documented = {line for string in strings for line in range(string.lineno, (string.end_lineno or 0) + 1)}
    blank = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}
    code = {
        line
        for token in tokenize.generate_tokens(io.StringIO(text).readline)
        if token.type not in blank | {tokenize.ENDMARKER}
        for line in range(token.start[0], token.end[0] + 1)
    }
    return len(code - documented)


@cache
def callers() -> dict[str, set[str]]:
    """Each module of the package, with the modules that import it or a name of it."""
    names = {name_of(path) for path in MODULES}
    found: dict[str, set[str]] = {name: set() for name in names}
    for path in MODULES:
        for name, _ in imports(path):
            module = name if name in names else name.rpartition(".")[0]
            if module in names and module != name_of(path):
                found[module].add(name_of(path))
    return found


def folder_of(module: str) -> str:
    return module if (ROOT / Path(*module.split("."))).is_dir() else module.rpartition(".")[0]


def test_the_house_in_figures(capsys):
    lines = sorted(lines_of(path) for path in MODULES)
    code = sum(code_lines_of(path) for path in MODULES)
    middle, ninetieth = statistics.median(lines), lines[len(lines) * 9 // 10]
    with capsys.disabled():
        print(
            f"\n{len(MODULES)} files (at most 180 are aimed at), {code:,} lines of code (28,000), median"
            f" {middle:.0f} lines, ninetieth percentile {ninetieth}, {len(workbench.__all__)} words (65)"
        )
    assert len(MODULES) <= FILES
    assert code <= CODE_LINES
    assert round(middle) in MEDIAN
    assert ninetieth < NINETIETH_PERCENTILE
    assert len(workbench.__all__) <= PUBLIC_WORDS


def test_one_row_goes_through_at_most_55_modules_from_read_to_the_drawn_point():
    command = [sys.executable, str(ROOT / "tests" / "benchmarks" / "row_path.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    modules = re.search(r"^(\d+) modules from `read` to the drawn point", done.stdout, re.M)
    assert modules is not None, done.stdout
    assert 30 < int(modules[1]) <= 55, done.stdout


def test_no_folder_is_more_than_three_levels_deep():
    folders = {name_of(path.parent) for path in MODULES}
    assert {folder for folder in folders if folder.count(".") > 2} <= set(DEEPER)


def test_a_short_module_and_one_with_one_caller_say_why_they_are_apart():
    users = callers()
    without = set()
    for path in MODULES:
        name = name_of(path)
        plugged = within(name, ENTRIES) or "workbench" in users[name]  # the public API hands it to notebooks
        alone = len(users[name]) < 2 and not plugged
        if path.name == "__init__.py" or not (alone or (lines_of(path) < SHORTEST and not plugged)):
            continue
        if not REASON.search(ast.get_docstring(tree_of(path)) or ""):
            without.add(name.removeprefix("workbench."))
    assert without - {"__main__"} == set()


def test_no_file_name_means_two_things():
    names = Counter(path.stem for path in MODULES if path.name != "__init__.py")
    assert {name for name, times in names.items() if times > 1} <= set(SAME_FILE_NAME)


def test_no_class_name_means_two_things():
    names = Counter(
        node.name
        for path in MODULES
        for node in tree_of(path).body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    )
    assert {name for name, times in names.items() if times > 1} <= set(SAME_CLASS_NAME)


def test_no_two_folders_import_each_other():
    pairs = {(folder_of(user), folder_of(name)) for name, users in callers().items() for user in users}
    both = {(one, other) for one, other in pairs if one < other and (other, one) in pairs}
    assert {pair for pair in both if not within(pair[1], (pair[0],))} == set()


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda path: path.stem)
def test_a_notebook_imports_little_and_at_most_one_level_down(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    source = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    nodes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Import | ast.ImportFrom)]
    assert len(nodes) <= 3
    modules = [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
    modules += [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    assert [name for name in modules if name.startswith("workbench") and name.count(".") > 1] == []


# The tests mirror the package: ``tests/training/test_jobs.py`` and ``test_jobs_hints.py`` are about
# ``workbench/training/jobs.py``. Some are about no module, but about all of them.
ABOUT_ALL = {
    "": ("house", "readme", "dependencies", "main"),
    "local": ("kill",),
    "local/api": ("contract", "fuzz", "bombs"),
}
OTHER_FOLDERS = ("notebooks", "data", "benchmarks")


def test_every_test_stands_where_its_module_stands():
    tests = ROOT / "tests"
    for path in sorted(tests.rglob("test_*.py")):
        part = path.parent.relative_to(tests).as_posix().replace(".", "", 1)
        if part.split("/")[0] in OTHER_FOLDERS or path.stem.removeprefix("test_") in ABOUT_ALL.get(part, ()):
            continue
        modules = [module.stem for module in (PACKAGE / part).glob("*.py")]
        assert any(f"{path.stem}_".startswith(f"test_{module}_") for module in modules), path


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
