"""Notebooks without a browser: parameters, plans, tiny notebooks, and what is told of a run."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import psutil
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from workbench import runner
from workbench.errors import DataError
from workbench.runner import (
    NotebookRun,
    Summary,
    execute,
    notebooks,
    parameters_of,
    plan,
    read_parameters,
)

COMPARISON = {
    "base_model": "SmolLM2",
    "base_prompt": "few-shot",
    "base_score": 0.125,
    "base_low": 0.08,
    "base_high": 0.19,
    "tuned_model": "SmolLM2.ft-1",
    "tuned_prompt": "short",
    "tuned_score": 0.9,
    "tuned_low": 0.84,
    "tuned_high": 0.94,
    "items": 120,
    "fixed": 94,
    "broken": 1,
    "p_value": 4.8e-27,
    "training_seconds": 136,
    "job_id": "ftjob-1",
    "outcome": "better",
    "verdict": "The tuned model is better.",
}


def write(path: Path, parameters: str, *cells: str) -> Path:
    """A notebook with a title, a parameters cell, and cells that are Markdown when they begin with #."""
    notebook = new_notebook(
        metadata={"kernelspec": {"name": "python3", "display_name": "", "language": "python"}}
    )
    notebook.cells = [
        new_markdown_cell("# Title"),
        new_code_cell(parameters, metadata={"tags": ["parameters"]}),
        *(new_markdown_cell(cell) if cell.startswith("#") else new_code_cell(cell) for cell in cells),
    ]
    nbformat.write(notebook, path)
    return path


def printed(path: Path) -> str:
    cells = nbformat.read(path, as_version=4).cells
    return "".join(
        out.text for cell in cells for out in cell.get("outputs", []) if out.output_type == "stream"
    )


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("0.5", 0.5),
        ("2e-3", 0.002),
        ("true", True),
        ("null", None),
        ("nano", "nano"),
        ("Always: return GQL.", "Always: return GQL."),
        ("[a, b", "[a, b"),
        ("2026-11-22", "2026-11-22"),
        ("", None),
    ],
)
def test_a_value_is_read_as_yaml_reads_a_scalar(text: str, value: object):
    read = read_parameters([("NAME", text)])["NAME"]
    assert (read, type(read)) == (value, type(value))


@pytest.mark.parametrize(
    ("name", "content"), [("p.yml", "MODEL: nano\nSHOTS: 2\n"), ("p.json", '{"MODEL": "nano", "SHOTS": 2}')]
)
def test_a_flag_wins_over_the_file(tmp_path: Path, name: str, content: str):
    (tmp_path / name).write_text(content)
    assert read_parameters([("SHOTS", "4")], tmp_path / name) == {"MODEL": "nano", "SHOTS": 4}


@pytest.mark.parametrize(
    ("content", "finding"),
    [
        ("- MODEL\n", "must hold one parameter a line"),
        ("MODEL: [a\n", "is neither YAML nor JSON"),
        ("SHOTS: [1, 2]\n", "SHOTS must be one value"),
    ],
)
def test_a_parameter_file_that_is_none_is_told(tmp_path: Path, content: str, finding: str):
    (tmp_path / "p.yml").write_text(content)
    with pytest.raises(DataError, match=finding):
        read_parameters([], tmp_path / "p.yml")


def test_a_missing_parameter_file_is_told(tmp_path: Path):
    with pytest.raises(DataError, match=r"none\.yml cannot be read: No such file"):
        read_parameters([], tmp_path / "none.yml")


def test_each_notebook_gets_only_the_parameters_it_has(tmp_path: Path):
    write(tmp_path / "00_a.ipynb", 'PROJECT = "gql"  # the name')
    write(tmp_path / "01_b.ipynb", 'PROJECT = "gql"  # the name\nSHOTS = 4  # how many')
    plans = plan({"PROJECT": "mine", "SHOTS": 2}, folder=tmp_path)
    assert [dict(planned.parameters) for planned in plans] == [
        {"PROJECT": "mine"},
        {"PROJECT": "mine", "SHOTS": 2},
    ]


def test_the_parameters_of_a_notebook_are_read_with_their_meaning(tmp_path: Path):
    lines = 'PROJECT = "a#b"  # the name\nSHOTS: int = 4  # how many, # signs too\nBARE = None'
    path = write(tmp_path / "00_a.ipynb", lines, "OTHER = 1  # no parameter")
    assert parameters_of(path) == {"PROJECT": "the name", "SHOTS": "how many, # signs too", "BARE": ""}


def test_the_parameters_are_those_that_papermill_finds():
    from papermill import inspect_notebook

    for path in notebooks():
        assert list(parameters_of(path)) == list(inspect_notebook(path))


def test_an_unknown_name_is_an_error_that_lists_the_known(tmp_path: Path):
    write(tmp_path / "00_a.ipynb", 'PROJECT = "gql"  # the name')
    with pytest.raises(
        DataError,
        match=r"^No notebook has a parameter SHOT\. .* there are PROJECT; and of the task ANS",
    ):
        plan({"SHOT": 2}, folder=tmp_path)


def test_a_setting_of_the_task_goes_to_no_notebook(tmp_path: Path):
    write(tmp_path / "00_a.ipynb", 'PROJECT = "gql"  # the name\nGRADER = None  # the task\'s')
    [planned] = plan({"GRADER": "exact", "TRAIN_CSV": "x.csv"}, folder=tmp_path)
    assert dict(planned.parameters) == {}
    assert not planned.needs_task


def test_only_picks_notebooks_by_how_they_begin(tmp_path: Path):
    for name in ("00_a", "01_b", "02_c"):
        write(tmp_path / f"{name}.ipynb", 'PROJECT = "gql"  # the name')
    assert [planned.name for planned in plan({}, only=["00", "02"], folder=tmp_path)] == ["00_a", "02_c"]
    with pytest.raises(DataError, match=r"No notebook begins with '07'; there are 00_a, 01_b, 02_c\."):
        plan({}, only=["07"], folder=tmp_path)


def test_further_methods_run_only_when_they_are_named(tmp_path: Path):
    for name in ("00_a", "06_b", "08_c"):
        write(tmp_path / f"{name}.ipynb", 'PROJECT = "gql"  # the name')
    assert [planned.name for planned in plan({}, folder=tmp_path)] == ["00_a", "06_b"]
    assert [planned.name for planned in plan({}, only=["08"], folder=tmp_path)] == ["08_c"]


def test_a_notebook_runs_in_this_python_with_its_parameters(tmp_path: Path):
    write(tmp_path / "00_a.ipynb", "N = 1  # a number", "import sys\nprint(sys.executable, N)")
    (tmp_path / "kept").mkdir()
    [run] = execute(plan({"N": 7}, folder=tmp_path), tmp_path / "kept")
    assert (run.name, run.status, run.error) == ("00_a", "completed", None)
    assert printed(run.path) == f"{sys.executable} 7\n"


def test_a_notebook_finds_nothing_that_the_one_before_did(tmp_path: Path):
    left = "import os, workbench, json\nos.environ['LEFT'] = json.LEFT = workbench.LEFT = 'here'\nLEFT = 1"
    write(tmp_path / "00_a.ipynb", "N = 1  # a number", f"{left}\nos.chdir('/')")
    seen = (
        "print(os.environ.get('LEFT'), hasattr(json, 'LEFT'), hasattr(workbench, 'LEFT'), 'LEFT' in vars())"
    )
    write(
        tmp_path / "01_b.ipynb",
        "N = 1  # a number",
        f"import os, json, workbench\n{seen}\nprint(os.getcwd())",
    )
    (tmp_path / "kept").mkdir()
    first, second = execute(plan({}, folder=tmp_path), tmp_path / "kept")
    assert (first.status, second.status) == ("completed", "completed")
    assert printed(second.path) == f"None False False False\n{Path.cwd()}\n"


def test_a_notebook_reads_the_environment_of_this_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name in ("00_a", "01_b"):
        write(tmp_path / f"{name}.ipynb", "N = 1", "import os\nprint(os.environ['CHANGED'])")
    monkeypatch.setenv("CHANGED", "first")
    running = execute(plan({}, folder=tmp_path), tmp_path)
    first = printed(next(running).path)
    monkeypatch.setenv("CHANGED", "second")
    assert (first, printed(next(running).path)) == ("first\n", "second\n")


def test_a_kernel_ends_with_the_process_that_runs_the_notebooks_even_when_that_is_killed(tmp_path: Path):
    work = (
        f"import os, time\nopen({str(tmp_path / 'pid')!r}, 'w').write(f'{{os.getpid()}}.')\ntime.sleep(120)"
    )
    for name in ("00_a", "01_b"):
        write(tmp_path / f"{name}.ipynb", "N = 1", work)
    code = (
        "import sys; from pathlib import Path; from workbench.runner import execute, plan;"
        "folder = Path(sys.argv[1]); list(execute(plan({}, folder=folder), folder))"
    )
    running = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)])
    deadline = time.monotonic() + 120
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text().endswith("."):
        assert time.monotonic() < deadline
        assert running.poll() is None
        time.sleep(0.1)
    kernel = psutil.Process(int((tmp_path / "pid").read_text().rstrip(".")))
    running.kill()
    running.wait()
    psutil.wait_procs([kernel], timeout=60)
    assert not kernel.is_running()


def test_a_failing_cell_is_named_and_ends_the_run(tmp_path: Path):
    broken = "from workbench import DataError\nraise DataError('faq.csv has no column answer.')"
    write(tmp_path / "00_a.ipynb", "N = 1  # a number", "print('before')", broken, "print('after')")
    write(tmp_path / "01_b.ipynb", "N = 1  # a number")
    (tmp_path / "{kept}").mkdir()
    [run] = execute(plan({}, folder=tmp_path), tmp_path / "{kept}")
    assert run.status == "failed"
    assert run.error == "cell [3]: DataError: faq.csv has no column answer."
    assert printed(run.path) == "before\n"


def test_a_kernel_that_dies_fails_its_notebook_quietly(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    write(tmp_path / "00_a.ipynb", "N = 1  # a number", "import os\nos._exit(3)")
    [run] = execute(plan({}, folder=tmp_path), tmp_path)
    assert run.error == "Kernel died (the kernel is gone; perhaps the machine ran out of memory)"
    assert capfd.readouterr().err == ""


PRESSED = f"os.kill({os.getpid()}, signal.SIGINT)"  # as a terminal does to the process that runs notebooks
DEAF = f"""\
import os, signal, time
handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
{PRESSED}
time.sleep(0.5)
signal.signal(signal.SIGINT, handler)
time.sleep(60)
"""
SILENT = f"""\
import os, signal
session = get_ipython().kernel.session
send = session.send
def interrupted(stream, kind, *rest, **more):
    if kind != "execute_reply":
        return send(stream, kind, *rest, **more)
    session.send = send
    {PRESSED}
    raise KeyboardInterrupt
session.send = interrupted
"""


@pytest.mark.parametrize(
    ("cell", "after"),
    [
        pytest.param(DEAF, {1: signal.SIGINT}, id="ignored between two cells"),
        pytest.param(SILENT, {1: signal.SIGINT, 3: signal.SIGKILL}, id="taken just before the reply"),
    ],
)
def test_ctrl_c_ends_a_kernel_that_does_not_hear_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cell: str, after: dict[int, signal.Signals]
):
    monkeypatch.setattr(runner, "AFTER_CTRL_C", after)
    write(tmp_path / "00_a.ipynb", "N = 1", cell, "print('never')")
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        list(execute(plan({}, folder=tmp_path), tmp_path))
    assert time.monotonic() - started < 50
    assert printed(tmp_path / "00_a.ipynb") == ""


def test_the_summary_tells_before_and_after():
    runs = (NotebookRun("06_evaluate", Path("06_evaluate.ipynb"), "completed", 9.5),)
    assert str(Summary("gql", Path("runs"), runs, COMPARISON)) == (
        "120 held-out questions   right  95 % interval\n"
        "SmolLM2, few-shot       12.5 %    8 % to 19 %\n"
        "SmolLM2.ft-1, short     90.0 %   84 % to 94 %\n"
        "The tuned model is better. Training took 136 s."
    )


def test_the_summary_ends_with_the_decision_and_what_the_release_check_has_against_the_model():
    checks = [
        {"name": "better at the task", "result": "passed", "why": "The tuned model is better."},
        {"name": "nothing lost elsewhere", "result": "refused", "why": "12 of 120 probes, 50 before."},
    ]
    gate = {"result": "refused", "verdict": "Do not deploy this model.", "checks": checks}
    summary = Summary("gql", Path("runs"), (), {**COMPARISON, "gate": gate}, "Fine-tune")
    assert str(summary).splitlines()[3:] == [
        "The tuned model is better. Training took 136 s.",
        "Decision: Fine-tune",
        "Release check: Do not deploy this model.",
        "  nothing lost elsewhere: 12 of 120 probes, 50 before.",
    ]
    assert (summary.facts["release_check"], summary.facts["decision"]) == (gate, "Fine-tune")


def test_the_summary_is_one_json_object():
    failed = NotebookRun("01_b", Path("k/01_b.ipynb"), "failed", 1.5, "cell [3]: DataError: no.")
    runs = (
        NotebookRun("00_a", Path("k/00_a.ipynb"), "completed", 2.0),
        failed,
        NotebookRun("02_c", Path("k/02_c.ipynb")),
    )
    facts = json.loads(json.dumps(Summary("gql", Path("k"), runs, None).facts))
    assert facts["notebooks"] == [
        {"name": "00_a", "status": "completed", "seconds": 2.0},
        {
            "name": "01_b",
            "status": "failed",
            "seconds": 1.5,
            "error": "cell [3]: DataError: no.",
            "path": "k/01_b.ipynb",
        },
        {"name": "02_c", "status": "not run", "seconds": 0.0},
    ]
    assert (facts["base_score"], facts["tuned_score"], facts["items"]) == (None, None, None)


def test_scores_in_the_summary_are_those_of_the_comparison():
    facts = Summary("gql", Path("k"), (), COMPARISON).facts
    assert {name: facts[name] for name in ("base_score", "tuned_score", "items", "training_seconds")} == {
        "base_score": 0.125,
        "tuned_score": 0.9,
        "items": 120,
        "training_seconds": 136,
    }
