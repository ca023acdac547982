"""Attacks on the sandbox of python graders: each is tried, none succeeds, and nothing outside has changed."""

import errno
import json
import os
import platform
import shutil
import struct
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import pytest
import sandbox_attacks
from sandbox_attacks import NUMBERS, ON_FILES, OTHERS, SOURCE, Victim, attack, item

from workbench.evaluation.graders import sandboxed
from workbench.evaluation.graders.sandbox import SandboxLimits, close_sandboxes, run_python

ONLY_X86 = [name for name, numbers in NUMBERS.items() if numbers["aarch64"] < 0]
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere only Python itself refuses")


@pytest.fixture(scope="module", autouse=True)
def _closed() -> Iterator[None]:
    yield
    close_sandboxes()


def test_of_two_hundred_attempts_none_succeeds_and_nothing_has_changed(tmp_path: Path):
    assert len(ON_FILES) + len(OTHERS) >= 190
    assert attack(tmp_path) == {"problem": "", "succeeded": "", "changed": {}}


@pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="only root can become somebody else")
def test_none_succeeds_for_an_ordinary_user_either():
    script, nobody = Path(sandbox_attacks.__file__), {"user": 65534, "group": 65534, "extra_groups": []}
    packages = (sysconfig.get_path("purelib"), script.parent.parent)
    folder = Path(tempfile.mkdtemp())
    try:
        shutil.chown(folder, 65534, 65534)
        environment = {"PATH": os.defpath, "PYTHONPATH": os.pathsep.join(map(str, packages))}
        for python in (sys.executable, f"/usr/bin/python3.{sys.version_info.minor}"):
            with suppress(PermissionError, FileNotFoundError):
                run = [python, "-B", str(script), str(folder)]
                done = subprocess.run(run, env=environment, capture_output=True, text=True, **nobody)
                break
        else:
            pytest.skip("no Python here can be started by other users")
        assert done.stderr == ""
        assert json.loads(done.stdout) == {"uid": 65534, "problem": "", "succeeded": "", "changed": {}}
    finally:
        shutil.rmtree(folder)


def test_outside_a_sandbox_the_attempts_on_files_would_succeed(tmp_path: Path):
    victim = Victim(tmp_path)
    code = f"import json, sys\n{SOURCE}\ngrade('', json.load(sys.stdin))\nprint(json.dumps(found))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps(victim.item(ON_FILES)),
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    victim.listening.close()
    differs = [one for one in ON_FILES if "xattr" in one]  # not on every file system
    if platform.machine() == "aarch64":
        differs += [one for one in ON_FILES if one.startswith(tuple(f"call('{name}'" for name in ONLY_X86))]
    succeeded = [one for one in json.loads(done.stdout) if one not in differs]
    assert succeeded == [one for one in ON_FILES if one not in differs]


# The filter itself, on both kinds of machine


def verdict(machine: str, number: int, *arguments: int, arch: int | None = None) -> str:
    """What the filter says to this call of process 4711, read as the kernel reads it."""
    audit = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}[machine] if arch is None else arch
    data = struct.pack("=iIQ6Q", number, audit, 0, *arguments, *[0] * (6 - len(arguments)))
    code = sandboxed.call_filter(machine, 4711)
    value, place = 0, 0
    while True:
        kind, if_so, if_not, operand = struct.unpack_from("=HBBI", code, 8 * place)
        place += 1
        if kind == 0x20:
            (value,) = struct.unpack_from("=I", data, operand)
        elif kind == 0x06:
            return {0x7FFF0000: "yes", 0x50000: "?"}.get(operand) or errno.errorcode[operand & 0xFFFF]
        else:
            holds = {0x15: value == operand, 0x25: value > operand, 0x35: value >= operand}[kind]
            place += if_so if holds else if_not


MACHINES = pytest.mark.parametrize("machine", ["x86_64", "aarch64"])


@MACHINES
def test_each_call_that_is_not_needed_is_refused_by_name(machine: str):
    said = {
        name: verdict(machine, number[machine]) for name, number in NUMBERS.items() if number[machine] >= 0
    }
    assert len(said) > 180
    assert {name: one for name, one in said.items() if one not in ("EPERM", "ENOSYS")} == {}


@MACHINES
def test_a_call_that_nobody_knows_yet_is_refused(machine: str):
    for number in [*range(335, 424), *range(470, 2000), 2**30 + 1, 2**31 - 1]:
        assert verdict(machine, number) in ("EPERM", "ENOSYS"), number


@MACHINES
def test_calls_of_another_kind_of_machine_are_refused(machine: str):
    assert verdict(machine, 39 if machine == "x86_64" else 172) == "yes"  # getpid
    assert verdict(machine, 39 if machine == "x86_64" else 172, arch=0x40000003) == "EPERM"


# Number on x86_64, on aarch64, arguments, verdict.
ARGUMENTS = [
    ("a thread", 56, 220, (0x3D0F00,), "yes"),
    ("a thread of musl", 56, 220, (0x7D0F00,), "yes"),
    ("a process", 56, 220, (17,), "EPERM"),
    ("a thread with files of its own", 56, 220, (0x3D0B00,), "EPERM"),
    ("a thread in another namespace", 56, 220, (0x3D0F00 | 0x10000000,), "EPERM"),
    ("a signal to itself", 234, 131, (4711, 4712, 6), "yes"),
    ("a signal to another", 234, 131, (1, 1, 9), "EPERM"),
    ("a pair of Unix sockets", 53, 199, (1, 1, 0), "yes"),
    ("a pair of TIPC sockets", 53, 199, (30, 1, 0), "EPERM"),
    ("to the other end", 44, 206, (3, 5, 5, 0, 0, 0), "yes"),
    ("to an address", 44, 206, (3, 5, 5, 0, 1, 2), "EPERM"),
    ("to an address above 4 GB", 44, 206, (3, 5, 5, 0, 1 << 32, 2), "EPERM"),
    ("flags of a file", 72, 25, (3, 3), "yes"),
    ("the owner of a file", 72, 25, (3, 8, 1), "EPERM"),
    ("the signal of a file", 72, 25, (3, 10, 9), "EPERM"),
    ("a lease", 72, 25, (3, 1024, 0), "EPERM"),
    ("is it a terminal", 16, 29, (3, 0x5401), "yes"),
    ("typing for another", 16, 29, (3, 0x5412), "EPERM"),
    ("the flags of an inode", 16, 29, (3, 0x40086602), "EPERM"),
    ("a thread's name", 157, 167, (15,), "yes"),
    ("outliving the parent", 157, 167, (1, 0), "EPERM"),
    ("hiding from the parent", 157, 167, (4, 0), "EPERM"),
    ("reading a limit", 302, 261, (0, 7, 0, 4096), "yes"),
    ("setting a limit", 302, 261, (0, 7, 4096, 0), "EPERM"),
    ("setting a limit from above 4 GB", 302, 261, (0, 7, 1 << 32, 0), "EPERM"),
]


@MACHINES
@pytest.mark.parametrize(("numbers", "arguments", "expected"), [
    ((x86, arm), arguments, expected) for _, x86, arm, arguments, expected in ARGUMENTS
], ids=[one[0] for one in ARGUMENTS])  # fmt: skip
def test_some_calls_are_judged_by_an_argument(
    machine: str, numbers: tuple[int, int], arguments: tuple[int, ...], expected: str
):
    assert verdict(machine, numbers[machine == "aarch64"], *arguments) == expected


def test_the_kernel_of_this_machine_refuses_each_of_them():
    # Calls without sense: were one allowed, it would fail in another way.
    ran = run_python(SOURCE, "", item([f"call({name!r}, -1, -1, -1, -1, -1, -1)" for name in NUMBERS]))
    assert (ran.problem, ran.reason) == ("", "")


# What a good grader needs, still works


PACKAGES = (
    "numpy",
    "scipy.stats",
    "pandas",
    "rapidfuzz.fuzz",
    "sklearn.metrics",
    "jsonschema",
    "pydantic",
    "yaml",
)


def test_packages_for_graders_can_be_imported():
    here = [name for name in PACKAGES if find_spec(name.split(".")[0])]
    assert "numpy" in here
    ran = run_python(f"import {', '.join(here)}\ndef grade(sample, item):\n    return 1\n", "", {})
    assert (ran.score, ran.problem) == (1.0, "")


WORKS = {
    "numpy": "import numpy as n; return float(n.linalg.solve(n.eye(300), n.ones(300)).sum()) == 300",
    "threads": "from concurrent.futures import ThreadPoolExecutor as T\n"
    "with T(8) as t: return sum(t.map(int, '12345678')) == 36",
    "event loop": "import asyncio\nasync def f(): return await asyncio.to_thread(int, '7')\n"
    "return asyncio.run(f()) == 7",
    "database": "import sqlite3; c = sqlite3.connect('a.db'); c.execute('create table t (x)');\n"
    "c.execute('insert into t values (1)'); c.commit(); return c.execute('select x from t').fetchone()[0]",
    "temporary files": "import tempfile\nwith tempfile.TemporaryFile() as f:\n"
    "    f.write(b'abc'); f.seek(0); return f.read() == b'abc'",
    "folders": "import os, shutil; os.makedirs('a/b'); open('a/b/c', 'w').close(); os.rename('a', 'd')\n"
    "shutil.rmtree('d'); return not os.listdir()",
    "a time limit of its own": "import signal\ndef late(*_): raise TimeoutError\n"
    "signal.signal(signal.SIGALRM, late); signal.setitimer(signal.ITIMER_REAL, 0.1)\n"
    "try:\n    while True: sum(range(99))\nexcept TimeoutError: return 1",
    "a mapped file": "import mmap\nwith open('m', 'w+b') as f:\n    f.write(b'abc'); f.flush()\n"
    "    return mmap.mmap(f.fileno(), 3)[:] == b'abc'",
}


@pytest.mark.parametrize("body", WORKS.values(), ids=WORKS.keys())
def test_what_a_grader_may_do_works(body: str):
    source = "def grade(sample, item):\n" + "".join(f"    {line}\n" for line in body.split("\n"))
    ran = run_python(source, "", {}, SandboxLimits(seconds=20))
    assert (ran.score, ran.problem) == (1.0, "")
