"""``python -m workbench``: what a shell is told, and with which exit code."""

import json
import signal
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from openai import OpenAI
from typer.testing import CliRunner, Result

from workbench.__main__ import app
from workbench.cli import JOURNEY
from workbench.local import process
from workbench.settings import ROOT, VERSION


@pytest.fixture
def service_home(home: Path) -> Iterator[Path]:
    yield home
    process.stop(home)


def call(*words: str) -> Result:
    return CliRunner().invoke(app, words, catch_exceptions=False)


def shell(*words: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "workbench", *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)


def test_an_unknown_parameter_stops_everything_before_it_begins(home: Path):
    done = call("run", "-p", "MODLE", "nano")
    assert done.exit_code == 2
    assert done.stderr == (
        "No notebook has a parameter MODLE. Did you mean MODEL? "
        "'python -m workbench run --help' lists them all.\n"
    )
    assert not home.exists()


def test_a_parameter_without_a_value_is_told(home: Path):
    for words in (("-p", "MODEL"), ("-p", "MODEL", "-p", "PROJECT=x"), ("--parameter",)):
        done = call("run", *words)
        sentence = "-p takes a name and a value: -p MODEL nano, or -p MODEL=nano.\n"
        assert (done.exit_code, done.stderr) == (2, sentence)


@pytest.mark.parametrize(
    "words", [("-p", "MODLE=a=b"), ("-p", "MODLE", "a=b"), ("--parameter", "MODLE", "a b")]
)
def test_a_parameter_is_one_word_or_two(home: Path, words: tuple[str, ...]):
    done = call("run", *words, "-p", "PROJECT", "zz")
    assert done.stderr.startswith("No notebook has a parameter MODLE. ")


def test_a_missing_parameter_file_is_told(home: Path):
    done = call("run", "-f", "nowhere.yml")
    assert (done.exit_code, done.stderr) == (2, "nowhere.yml cannot be read: No such file or directory.\n")


def test_a_project_name_that_is_none_is_told(home: Path):
    done = call("run", "-p", "PROJECT", "../elsewhere")
    assert done.exit_code == 2
    assert done.stderr.startswith("'../elsewhere' cannot be a project's name")


def test_a_provider_without_a_key_is_told_before_any_notebook(home: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OPENAI_API_KEY", "")
    done = call("run", "-p", "PROVIDER", "openai")
    assert (done.exit_code, done.stderr) == (2, "Set OPENAI_API_KEY in .env (see .env.example).\n")


def test_an_error_of_the_service_is_one_sentence(service_home: Path):
    done = call("jobs", "cancel", "ftjob-nobody")
    assert done.exit_code == 2
    assert done.stderr.startswith("The service did not do it: Error code: 404")
    assert done.stderr.count("\n") == 1


def test_the_service_starts_is_found_and_stops(service_home: Path):
    assert json.loads(call("service", "status", "--json").stdout) == {
        "running": False,
        "url": None,
        "pid": None,
    }
    assert call("service", "status").exit_code == 1
    started = call("service", "start").stdout
    address = process.find(service_home)
    assert started == f"The local service runs at {address.url} (process {address.pid}).\n"
    assert call("service", "start").stdout == started
    status = call("service", "status", "--json")
    assert (status.exit_code, json.loads(status.stdout)["pid"]) == (0, address.pid)
    assert address.key not in started + status.stdout
    assert call("service", "stop").stdout == "The local service has stopped.\n"
    assert call("service", "stop").stdout == "The local service was not running.\n"


def test_the_service_runs_in_the_foreground_with_a_given_key_home_and_port(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("WORKBENCH_LOCAL_KEY", "given")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    service = shell("service", "run", "--port", str(port), "--home", str(tmp_path / "here"))
    try:
        assert service.stdout.readline().startswith(f"The local service listens at http://127.0.0.1:{port}")
        client = OpenAI(base_url=f"http://127.0.0.1:{port}/openai/v1/", api_key="given", max_retries=0)
        assert "nano" in {model.id for model in client.models.list()}
        client.close()
        second = shell("service", "run", "--home", str(tmp_path / "here"))
        _, printed = second.communicate(timeout=60)
        assert second.returncode == 2
        assert printed.startswith(f"A service works on {tmp_path / 'here'} already (process {service.pid}, ")
    finally:
        service.send_signal(signal.SIGINT)
        service.communicate(timeout=60)
    assert service.returncode == 0


def test_a_port_in_use_is_told(home: Path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        service = shell("service", "run", "--port", port, "--home", str(home))
        _, printed = service.communicate(timeout=60)
    assert service.returncode == 2
    assert printed.startswith(f"Port {port} is in use by another program; choose another with --port")
    assert printed.count("\n") == 1


def test_lab_hands_its_options_to_jupyterlab():
    lab = shell("lab", "--version")
    version, _ = lab.communicate(timeout=120)
    assert (lab.returncode, version.split(".")[0]) == (0, "4")


def test_help_waits_for_nothing_heavy():
    code = "import sys, workbench.__main__; print(*sys.modules)"
    loaded = set(subprocess.check_output([sys.executable, "-c", code], text=True, cwd=ROOT).split())
    assert loaded & {"openai", "papermill", "nbformat", "pandas", "torch", "plotly", "starlette"} == set()


def test_every_command_has_its_place_in_the_journey():
    printed = call("-h").stdout
    subjects = [line for line in printed.splitlines() if line.endswith(":") and line != "Options:"]
    assert subjects == [f"{subject}:" for subject in JOURNEY]  # and no "More:"
    for command in ("run", "lab", "jobs", "service"):
        assert f"  {command} " in printed
    assert printed == call("--help").stdout


def test_help_lists_every_parameter_with_its_meaning():
    printed = call("run", "-h").stdout
    assert "-p, --parameter NAME=VALUE" in printed
    notebooks, settings = printed.split("Settings of the task")
    assert "  N_EPOCHS " in notebooks
    assert "  PROJECT " in notebooks
    assert "  GRADER " not in notebooks
    assert "  GRADER " in settings
    assert "MODEL" not in settings.split("\n", 1)[1].split()


def test_the_help_of_lab_says_what_a_path_is():
    printed = call("lab", "-h").stdout
    assert " lab [PATH] [JUPYTERLAB'S OPTIONS]\n" in printed
    assert "PATH is a notebook, a folder" in printed
    assert "--allow-root" in printed


@pytest.mark.parametrize("name", ["nofile.ipynb", "05_los_curves", "./nowhere/"])
def test_lab_names_a_file_that_is_not_there_in_one_sentence(name: str):
    done = call("lab", name)
    assert done.exit_code == 2
    assert done.stderr.startswith(f"There is no file or folder {name}.")
    assert ("Did you mean 05_loss_curves?" in done.stderr) == name.startswith("05")
    assert done.stderr.count("\n") == 1


def test_the_version_is_printed():
    assert call("--version").stdout == f"workbench {VERSION}\n"


def test_a_mistyped_verb_is_answered_with_the_near_one():
    assert "Did you mean 'jobs'?" in call("jbos").stderr


def test_the_console_script_is_this_program_under_its_own_name():
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]
    module, _, function = scripts["workbench"].partition(":")
    code = f"import sys; sys.argv[0] = 'workbench'; from {module} import {function}; {function}()"
    printed = subprocess.run(
        [sys.executable, "-c", code, "-h"], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert printed.stdout.startswith("Usage: workbench [OPTIONS]")
