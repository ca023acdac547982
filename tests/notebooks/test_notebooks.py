"""The notebooks: how they are written, and the whole road through them on the nano model."""

import ast
import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from ipykernel.ipkernel import IPythonKernel
from nbformat import NotebookNode
from notebook_road import Road, Walk
from papermill import inspect_notebook

from workbench.project import Project
from workbench.settings import ROOT
from workbench.task import PARAMETERS

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
ROAD = NOTEBOOKS[:7]  # what a run executes unless others are named
LONGEST_CELL = 8  # lines; most have one to six


def cells(path: Path, kind: str) -> list[NotebookNode]:
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == kind]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_parameter_is_read_by_a_cell(path: Path):
    stated, *others = cells(path, "code")
    names = {
        node.id for cell in others for node in ast.walk(ast.parse(cell.source)) if isinstance(node, ast.Name)
    }
    assert {target.id for each in ast.parse(stated.source).body for target in each.targets} - names == set()


def test_the_journey_is_in_order():
    assert [path.stem for path in NOTEBOOKS] == [
        "00_start_here",
        "01_baseline",
        "02_decide",
        "03_build_data",
        "04_launch",
        "05_loss_curves",
        "06_evaluate",
        "07_deploy",
        "08_preferences",
        "09_reinforcement",
    ]


def test_the_first_shows_the_whole_journey():
    road = next(cell.source for cell in cells(NOTEBOOKS[0], "markdown") if cell.id == "road")
    named = [line.split("](")[1].split(")")[0] for line in road.splitlines() if line.startswith("| [")]
    assert named == [path.name for path in NOTEBOOKS[1:]]


def test_they_are_committed_without_outputs_and_traces_of_a_machine():
    keys = "metadata.papermill metadata.widgets cell.metadata.papermill"
    command = [sys.executable, "-m", "nbstripout", "--keep-id", "--verify", "--extra-keys", keys]
    done = subprocess.run([*command, *NOTEBOOKS], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_notebook_ends_with_links_to_where_one_goes_on():
    road = [path.stem for path in NOTEBOOKS if path.stem != "07_deploy"]
    following = dict(zip(road, [*road[1:], "07_deploy"], strict=True))
    following |= {"06_evaluate": "07_deploy", "07_deploy": "08_preferences"}
    for path in NOTEBOOKS:
        last = cells(path, "markdown")[-1].source
        linked = re.findall(r"\[(\d\d_\w+)\]\((\d\d_\w+)\.ipynb\)", last)
        assert last.startswith("## Go on\n"), path.stem
        assert following[path.stem] in [name for name, _ in linked], path.stem
        assert all(name == file and path.with_name(f"{file}.ipynb").is_file() for name, file in linked)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
class TestStyle:
    def test_it_names_its_language_as_the_kernel_does_or_it_opens_as_if_it_were_changed(self, path: Path):
        language = dict(nbformat.read(path, as_version=4).metadata.language_info)
        assert re.fullmatch(r"3\.\d+\.\d+", language["version"])
        assert {**language, "version": ""} == {**IPythonKernel.language_info, "version": ""}

    def test_it_is_valid_and_every_cell_has_a_telling_id(self, path: Path):
        notebook = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)
        ids = [cell.id for cell in notebook.cells]
        assert len(set(ids)) == len(ids)
        assert all(id.replace("-", "").isalpha() for id in ids)

    def test_its_kernel_is_the_python_that_opens_it(self, path: Path):
        assert nbformat.read(path, as_version=4).metadata.kernelspec.name == "python3"

    def test_it_begins_with_title_aim_cost_parameters_and_imports(self, path: Path):
        title, parameters, imports = nbformat.read(path, as_version=4).cells[:3]
        assert title.source.startswith("# ")
        assert "You will " in title.source or "you will " in title.source
        assert "\n*Costs " in title.source or "\n*On the local service it costs" in title.source
        assert parameters.metadata.tags == ["parameters"]
        assert all(isinstance(line, ast.Import | ast.ImportFrom) for line in ast.parse(imports.source).body)
        assert "import workbench as wb" in imports.source
        lines = [line for line in imports.source.splitlines() if line]
        assert len(lines) <= 3
        deep = [
            line for line in lines if line.startswith("from workbench.") and line.split()[1].count(".") > 1
        ]
        assert deep == []

    def test_it_states_nothing_of_the_task_but_00(self, path: Path):
        stated = set(inspect_notebook(path)) & PARAMETERS.keys()
        expected = {"EXAMPLES", "TEST", "QUESTION", "ANSWER", "SYSTEM", "REFERENCE", "GRADER"}
        assert stated == (expected if path.stem == "00_start_here" else set())

    def test_every_parameter_is_in_capitals_and_says_what_it_is(self, path: Path):
        known = inspect_notebook(path)
        lines = cells(path, "code")[0].source.splitlines()
        assert list(known) == [line.partition(" = ")[0] for line in lines]
        assert {"PROJECT", "PROVIDER"} <= set(known)
        for name, parameter in known.items():
            assert name.isupper()
            assert len(parameter["help"].split()) >= 3, f"{name} needs a comment."

    def test_cells_are_short_and_hold_no_machinery(self, path: Path):
        for cell in cells(path, "code")[1:]:
            assert len(cell.source.splitlines()) <= LONGEST_CELL, cell.id
            assert not any(line.lstrip().startswith(("!", "%")) for line in cell.source.splitlines()), cell.id
            assert "sys.path" not in cell.source
            held = {type(node) for node in ast.walk(ast.parse(cell.source))}
            assert held & {ast.FunctionDef, ast.ClassDef, ast.For, ast.While, ast.Try, ast.Lambda} == set(), (
                cell.id
            )

    def test_every_code_cell_has_its_heading(self, path: Path):
        before = ""
        for cell in nbformat.read(path, as_version=4).cells[3:]:
            if cell.cell_type == "code":
                assert before.startswith("## "), cell.id
            before = cell.source


SMALL = ("-p", "N_EPOCHS", "2", "-p", "TEST_ITEMS", "12", "-p", "REHEARSAL", "0.1")


def small(road: Road) -> tuple[str, ...]:
    """Parameters of a small run, with twenty of the probes."""
    return (*SMALL, "-p", "PROBES", str(road.home.parent / "probes.csv"))


@pytest.fixture(scope="module")
def road(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Road]:
    made = Road(tmp_path_factory.mktemp("road") / "home")
    with (ROOT / "data" / "probes" / "probes.csv").open(encoding="utf-8", newline="") as probes:
        header, *rows = csv.reader(probes)
    with (made.home.parent / "probes.csv").open("w", encoding="utf-8", newline="") as few:
        csv.writer(few).writerows([header, *rows[::20]])
    yield made
    made.end()


@pytest.fixture(scope="module")
def walk(road: Road) -> Walk:
    running = road.run("--json", *small(road))
    out, err = running.communicate(timeout=600)
    return Walk(running.returncode, out, err)


class TestRoad:
    def test_it_ends_with_one_json_object_on_stdout(self, walk: Walk):
        assert walk.code == 0, walk.err  # twelve questions and twenty probes show nothing, and refuse nothing
        assert walk.summary["release_check"]["result"] == "open"
        assert walk.out.count("\n") == 1
        assert [(ran["name"], ran["status"]) for ran in walk.summary["notebooks"]] == [
            (path.stem, "completed") for path in ROAD
        ]
        assert walk.summary["items"] == 12
        assert 0 <= walk.summary["base_score"] <= 1
        assert 0 <= walk.summary["tuned_score"] <= 1
        assert 0 < walk.summary["training_seconds"] < 600
        assert all(0 < ran["seconds"] < 600 for ran in walk.summary["notebooks"])

    def test_its_progress_is_on_stderr_a_line_a_notebook(self, walk: Walk):
        lines = walk.err.splitlines()
        assert lines[0] == f"Executed notebooks are kept in {walk.summary['folder']}"
        assert [line.split()[:2] for line in lines[1:-1]] == [[path.stem, "completed"] for path in ROAD]

    def test_it_ends_by_writing_and_naming_the_report(self, walk: Walk, road: Road):
        page = road.project.path / "report.html"
        assert walk.err.splitlines()[-1] == f"What came out, on one page: {page}"
        assert walk.summary["report"] == str(page)
        html = page.read_text(encoding="utf-8")
        assert 'class="missing"' not in html  # every step was done
        assert road.project.latest("curve").facts["job_id"] in html

    def test_the_executed_notebooks_and_the_summary_are_kept(self, walk: Walk):
        folder = Path(walk.summary["folder"])
        kept = [path.name for path in ROAD] + ["summary.json"]
        assert sorted(path.name for path in folder.iterdir()) == kept
        assert json.loads((folder / "summary.json").read_text()) == walk.summary

    def test_each_notebook_leaves_its_entry_in_the_record(self, walk: Walk, road: Road):
        kinds = [entry.kind for entry in road.project.entries()]
        assert kinds == [
            "environment",
            "baseline",
            "decision",
            "seal",
            "dataset",
            "job",
            "curve",
            "comparison",
        ]
        facts = {entry.kind: entry.facts for entry in road.project.entries()}
        assert [rung["prompt"] for rung in facts["baseline"]["rungs"]] == [
            "zero-shot",
            "engineered",
            "2-shot",
            "4-shot",
            "retrieved examples",
        ]
        assert facts["decision"]["verdict"] == "not_yet_build_eval"  # twelve questions prove nothing
        assert facts["dataset"]["training_sha256"] == facts["job"]["training_sha256"]
        rehearsal = facts["dataset"]["rehearsal"]
        assert (rehearsal["share"], rehearsal["model"]) == (0.1, "nano")
        assert len(rehearsal["lines"]) == rehearsal["rows"] == 36
        assert facts["dataset"]["training_examples"] == 358 + 36
        assert facts["dataset"]["evidence"]["demonstrations"] == 358  # the task's own
        assert facts["comparison"]["forgetting"]["items"] == 20
        assert facts["job"]["model"] == facts["comparison"]["base_model"] == "nano"
        assert facts["curve"]["fine_tuned_model"] == facts["comparison"]["tuned_model"]
        assert facts["comparison"]["base_prompt"] == facts["baseline"]["best_prompt"]
        assert facts["comparison"]["tuned_score"] == walk.summary["tuned_score"]

    def test_there_is_one_job_on_the_service_and_its_curve_has_every_step(self, walk: Walk, road: Road):
        assert road.jobs() == ["succeeded"]
        facts = road.project.latest("curve").facts
        with road.client as client:
            job = client.fine_tuning.jobs.retrieve(facts["job_id"])
            rows = client.files.content(job.result_files[0]).text.splitlines()[1:]
        assert [int(row.split(",")[0]) for row in rows] == list(range(1, facts["steps"] + 1))

    def test_the_curve_is_in_the_executed_notebook_as_a_picture(self, walk: Walk):
        notebook = nbformat.read(Path(walk.summary["folder"]) / "04_launch.ipynb", as_version=4)
        shown = next(cell.outputs for cell in notebook.cells if cell.id == "watch-code")[-1]
        assert {"image/svg+xml", "text/html", "text/plain"} == set(shown.data)
        assert "<b>Finished</b> · step " in shown.data["text/html"]

    def test_walking_it_again_starts_and_asks_nothing_twice(self, walk: Walk, road: Road):
        answers = (road.project.path / "answers.jsonl").read_bytes()
        again = road.run("--no-gate", *small(road))
        out, err = again.communicate(timeout=600)
        assert again.returncode == 0, err
        assert out.startswith("12 held-out questions ")
        assert road.jobs() == ["succeeded"]
        assert (road.project.path / "answers.jsonl").read_bytes() == answers


def test_a_notebook_that_fails_is_told_with_its_cell_and_how_to_open_it(road: Road, tmp_path: Path):
    (tmp_path / "faq.csv").write_text("question,reply\nWho?,Me.\nWhat?,It.\n")
    task = ("-p", "TRAIN_CSV", str(tmp_path / "faq.csv"), "-p", "TEST_CSV", str(tmp_path / "faq.csv"))
    running = road.run("--json", "--project", "other", *task, "-p", "SHOTS", "2")
    out, err = running.communicate(timeout=600)
    assert running.returncode == 1
    assert [ran["status"] for ran in json.loads(out)["notebooks"]] == [
        "completed",
        "failed",
        *5 * ["not run"],
    ]
    assert json.loads(out)["tuned_score"] is None
    failed, opened = err.splitlines()[-2:]
    assert failed.startswith("01_baseline failed in cell [8]: DataError: ")
    assert "faq.csv has 0 examples whose question is not in the test set" in failed
    assert opened == f"Open it: python -m workbench lab {json.loads(out)['folder']}/01_baseline.ipynb"


def test_two_projects_with_tasks_of_their_own_run_by_name_alone(road: Road, tmp_path: Path):
    for name, column, only in (("first", "colour", "00,01,03"), ("second", "paint", "03")):
        words = (
            "red",
            "blue",
            "green",
            "pink",
            "gold",
            "gray",
            "teal",
            "lime",
            "rose",
            "navy",
            "plum",
            "mint",
        )
        rows = [f"is {word} {number}?,{word}" for word in words for number in range(3)]
        (tmp_path / "train.csv").write_text("\n".join([f"asked,{column}", *rows[:30]]))
        (tmp_path / "test.csv").write_text("\n".join([f"asked,{column}", *rows[30:]]))
        task = ("--train", "train.csv", "--test", "test.csv", "--question", "asked", "--answer", column)
        project = Project(name, road.home / "projects" / name)
        for file in ("train.csv", "test.csv"):
            project.save(file, (tmp_path / file).read_bytes())
        new = [sys.executable, "-m", "workbench", "new", name, *task]
        environment = os.environ | {"WORKBENCH_HOME": str(road.home)}
        subprocess.run(new, cwd=project.path, env=environment, check=True, capture_output=True)
        assert 'examples = "train.csv"' in (project.path / "project.toml").read_text()
        running = road.run("--json", "--project", name, "--only", only)
        _, err = running.communicate(timeout=600)
        assert running.returncode == 0, err
        facts = project.need("dataset", "03_build_data").facts
        assert facts["source"] == str((project.path / "train.csv").resolve())
        if "01" in only:
            assert project.latest("baseline").facts["grader"] == "exact"


def job_of(project: Project, running: "subprocess.Popen[str]") -> str:
    """The job's id, as soon as it is on record."""
    deadline = time.monotonic() + 120
    while running.poll() is None and time.monotonic() < deadline:
        if entry := project.latest("job"):
            return str(entry.facts["job_id"])
        time.sleep(0.05)
    raise AssertionError(f"no job was started: {running.communicate()}")


def test_ctrl_c_leaves_the_job_running_and_says_how_to_go_on(road: Road):
    running = road.run(
        *("--only", "03,04", "-p", "PROJECT", "long", "-p", "MODEL", "nano", "-p", "N_EPOCHS", "50"),
        *("-p", "TRAIN_CSV", "data/gql/collected.csv", "-p", "TEST_CSV", "data/gql/test.csv"),
        *("-p", "QUESTION", "question", "-p", "ANSWER", "query", "-p", "SYSTEM", "Always return GQL."),
    )
    project = Project("long", road.home / "projects" / "long")
    job = job_of(project, running)
    running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=120)
    assert running.returncode == 130
    assert err.splitlines()[-1] == (
        f"Stopped here; job {job} goes on. The same command finds it again; "
        f"to end it: python -m workbench jobs cancel {job}"
    )
    with road.client as client:
        assert client.fine_tuning.jobs.retrieve(job).status in ("pending", "running")
        assert client.fine_tuning.jobs.cancel(job).status == "cancelled"
