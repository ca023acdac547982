"""What the README promises can be done as it says, by somebody who copies its lines."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

from workbench.settings import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
LINK = re.compile(r"\]\((?!http)([^)\s]+)\)")
MAP = (ROOT / "workbench" / "README.md").read_text(encoding="utf-8")
COMMANDS = re.sub(r"\\\n\s*", "", "\n".join(re.findall(r"^    (.+)$", README, re.MULTILINE)))


def line_with(words: str) -> str:
    return next(line for line in COMMANDS.splitlines() if words in line)


def test_the_two_commands_install_and_then_run_or_test() -> None:
    assert line_with("workbench run").startswith("pip install -r requirements.txt && python -m workbench run")
    assert line_with("pytest") == 'pip install -r requirements.txt -e ".[test]" && pytest'


def test_ci_runs_the_second_command_as_it_stands() -> None:
    pattern = re.search(r"sed -n '(s/.+/p)' README\.md", (ROOT / ".ci" / "run").read_text(encoding="utf-8"))
    assert pattern is not None
    found = subprocess.run(
        ["sed", "-n", pattern[1], str(ROOT / "README.md")], capture_output=True, text=True, check=True
    )
    assert found.stdout.splitlines() == [line_with("pytest")]


READMES = [ROOT / "README.md", *sorted(ROOT.glob("*/README.md"))]


def headings(page: Path) -> set[str]:
    """The anchors of a page, as GitHub makes them of its headings."""
    found = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in found}


def test_every_link_of_a_readme_leads_somewhere() -> None:
    links = [
        (page, *link.partition("#")) for page in READMES for link in LINK.findall(page.read_text("utf-8"))
    ]
    assert len(links) > 10
    for page, path, _, heading in links:
        target = page.parent / path if path else page
        assert target.exists(), f"{page}: {path}"
        assert not heading or heading in headings(target), f"{page}: {path}#{heading}"


def test_the_map_names_every_module_and_no_other() -> None:
    lines = MAP.partition("workbench/\n")[2].partition("tests/")[0].splitlines()
    folder, named, whole = [], set(), set()
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        depth, name = (len(line) - len(line.lstrip())) // 2, line.split()[0]
        folder[depth - 1 :] = [name.rstrip("/")]
        if name.endswith(".py"):
            named.add("/".join(folder))
        elif len(following) - len(following.lstrip()) <= 2 * depth:
            whole.add(Path(*folder))  # a folder that is described in one line
    modules = {path.relative_to(ROOT / "workbench") for path in (ROOT / "workbench").rglob("*.py")}
    assert all((ROOT / "workbench" / path).is_dir() for path in whole)
    expected = {
        path.as_posix()
        for path in modules
        if (path.name != "__init__.py" or path == Path("__init__.py")) and not whole & set(path.parents)
    }
    assert named == expected


def test_a_task_of_ones_own_runs_as_the_readme_says(home: Path, models: Path, tmp_path: Path) -> None:
    words = ("red", "blue", "green", "pink", "gold", "gray", "teal", "lime", "rose", "navy", "plum", "mint")
    rows = [f"is {word} {number}?,{word}" for word in words for number in range(3)]
    (tmp_path / "train.csv").write_text("\n".join(["text,label", *rows[:30]]), encoding="utf-8")
    (tmp_path / "test.csv").write_text("\n".join(["text,label", *rows[30:]]), encoding="utf-8")
    (tmp_path / "rules.txt").write_text("Answer with the colour.", encoding="utf-8")
    environment = dict(os.environ) | {
        "WORKBENCH_MODEL": "nano",
        "WORKBENCH_MODELS": str(models),
        "WORKBENCH_HEADLESS": "1",
    }

    def shell(line: str, *more: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, *shlex.split(line.removeprefix("python ")), *more]
        return subprocess.run(
            command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
        )

    stated = shell(line_with("workbench new mine"))
    assert stated.returncode == 0, stated.stderr
    done = shell(line_with("run --project mine"), "--json")
    try:
        assert done.returncode == 0, done.stderr
        summary = json.loads(done.stdout)
        assert summary["items"] == 6
        assert summary["base_model"] == "nano"
        assert [notebook["status"] for notebook in summary["notebooks"]] == ["completed"] * 7
    finally:
        subprocess.run(
            [sys.executable, "-m", "workbench", "service", "stop"],
            env=dict(os.environ),
            check=True,
            capture_output=True,
        )
