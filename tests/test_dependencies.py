"""The packages we build on: what is listed is what is tested, and others' deprecations stay theirs."""

import re
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version
from versions import BRIEF, ends, fetch, requirements, tried

from workbench.settings import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LISTED = [*requirements().values(), *map(Requirement, PROJECT["optional-dependencies"]["test"])]
MOVING = ("transformers", "torch", "llguidance", "trl", "peft", "schemathesis", "charset-normalizer", "mypy")


# The list


def test_every_dependency_has_a_reason() -> None:
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    packages = [line for line in lines if line and line[0].isalpha()]
    assert len(packages) == len(requirements())
    assert [line for line in packages if not re.search(r" # \S", line)] == []


@pytest.mark.parametrize("requirement", LISTED, ids=lambda requirement: requirement.name)
def test_what_is_installed_is_what_the_list_allows(requirement: Requirement) -> None:
    assert requirement.specifier.contains(version(requirement.name)), version(requirement.name)


def next_minor(requirement: Requirement) -> str:
    """A version after the installed one: 5.24.3 gives 5.25."""
    major, minor = Version(version(requirement.name)).release[:2]
    return f"{major}.{minor + 1}"


@pytest.mark.parametrize(
    "requirement",
    [each for each in LISTED if each.name in MOVING or Version(version(each.name)).major == 0],
    ids=lambda requirement: requirement.name,
)
def test_what_moves_is_held_to_a_minor_version(requirement: Requirement) -> None:
    assert not requirement.specifier.contains(next_minor(requirement))


# Both ends of the range of transformers

[END] = [each.version for each in requirements()["transformers"].specifier if each.operator == "<"]


def test_the_ends_that_are_tried_are_those_of_the_list() -> None:
    assert ends(Requirement("transformers>=5.20,<5.25")) == {
        "oldest": "transformers==5.20",
        "newest": "transformers<5.25,>=5.20",
    }


@pytest.mark.parametrize("end", ["oldest", "newest"])
def test_answering_and_training_deprecate_nothing_with_the(end: str, tmp_path: Path) -> None:
    wanted = ends(requirements()["transformers"])[end]
    if end == "newest" and next_minor(requirements()["transformers"]) == END:
        pass  # it is the one installed
    elif (fetched := fetch(wanted, tmp_path)).returncode:
        assert not re.search(r"from versions: \d", fetched.stderr), fetched.stderr
        pytest.skip(f"pip reaches no index to fetch {wanted} from")
    done = tried(tmp_path, "-k", BRIEF, "-W", "error::FutureWarning", "-W", "error::DeprecationWarning")
    assert done.returncode == 0, done.stdout[-3000:]


# Warnings

THEIRS = """
import warnings

def deprecated(kind, stacklevel=1):
    warnings.warn("gone in version 9", kind, stacklevel=stacklevel)
"""
MODEL = """
import warnings

def call():
    message = "`past_key_values` is deprecated and will be removed in version 5.40.0 for `LlamaModel`."
    warnings.warn(message, FutureWarning)
"""
CASES = """
import threading
import types
import warnings
from pathlib import Path

import someone


def module(name, source):
    made = types.ModuleType(name)
    exec(source, made.__dict__)
    return made


def test_their_deprecation():
    someone.deprecated(DeprecationWarning)


def test_their_future_warning():
    someone.deprecated(FutureWarning)


def test_their_user_warning():
    someone.deprecated(UserWarning)


def test_our_use_of_what_they_deprecate():
    someone.deprecated(DeprecationWarning, stacklevel=2)


def test_our_own_warning():
    warnings.warn("ours", FutureWarning)


def test_our_module():
    module("workbench.local.models.model", Path("someone.py").read_text()).deprecated(DeprecationWarning)


def test_an_argument_that_transformers_renamed():
    module("torch.nn.modules.module", Path("model.py").read_text()).call()


def test_numbers_that_are_none():
    someone.deprecated(RuntimeWarning)


def test_a_file_left_open():
    open("someone.py")


def test_a_thread_that_died():
    thread = threading.Thread(target=lambda: 1 / 0)
    thread.start()
    thread.join()
"""


def test_our_own_warnings_are_errors_and_those_of_others_are_shown(tmp_path: Path) -> None:
    (tmp_path / "someone.py").write_text(THEIRS, encoding="utf-8")
    (tmp_path / "model.py").write_text(MODEL, encoding="utf-8")
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_cases.py").write_text(CASES, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-c", str(ROOT / "pyproject.toml"), "-n0"]
    command += ["-p", "no:cacheprovider"]
    command += ["-o", f"pythonpath={tmp_path}"]
    command += ["--rootdir", str(tmp_path), "-rA", "--tb=no", "tests/test_cases.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    outcomes = {
        name: outcome for outcome, name in re.findall(r"^([A-Z]+) \S+::test_(\w+)", done.stdout, re.MULTILINE)
    }
    assert outcomes == {
        "their_deprecation": "PASSED",
        "their_future_warning": "PASSED",
        "their_user_warning": "PASSED",
        "our_use_of_what_they_deprecate": "FAILED",
        "our_own_warning": "FAILED",
        "our_module": "FAILED",
        "an_argument_that_transformers_renamed": "FAILED",
        "numbers_that_are_none": "FAILED",
        "a_file_left_open": "FAILED",
        "a_thread_that_died": "FAILED",
    }
    assert "DeprecationWarning: gone in version 9" in done.stdout
