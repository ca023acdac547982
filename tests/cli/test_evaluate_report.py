"""``python -m workbench report``: the result on one page, from a shell."""

import json
from pathlib import Path

from made_project import walked
from typer.testing import CliRunner, Result

from workbench.__main__ import app
from workbench.project import open_project


def call(*words: str) -> Result:
    return CliRunner().invoke(app, ["report", *words], catch_exceptions=False)


def test_it_writes_the_page_into_the_projects_folder_and_says_where(home: Path):
    project = walked(open_project("shop"))
    done = call("--project", "shop", "--json")
    written = project.path / "report.html"
    facts = {"report": str(written), "bytes": written.stat().st_size}
    assert (done.exit_code, json.loads(done.stdout)) == (0, facts)
    assert call("--project", "shop").stdout == f"Fine-tuning report: shop: {written}\n"


def test_projects_runs_and_the_file_are_options(home: Path, tmp_path: Path):
    walked(open_project("shop"))
    walked(open_project("other"))
    out = tmp_path / "both.md"
    assert call("--project", "shop", "--project", "other", "--out", str(out)).exit_code == 0
    assert "## Side by side" in out.read_text(encoding="utf-8")
    done = call("--project", "shop", "--run", "2")
    assert (done.exit_code, done.stderr) == (2, "Project shop has no run 2; it has 1 run, the first is 1.\n")


def test_an_unknown_project_is_one_sentence(home: Path):
    walked(open_project("shop"))
    done = call("--project", "shopp")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == "There is no project shopp. Did you mean shop? There are gql, shop, support.\n"
