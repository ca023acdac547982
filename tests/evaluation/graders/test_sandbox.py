"""The sandbox of python graders: what a stranger's code may not do, and what becomes of us when it tries."""

import ast
import os
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path

import psutil
import pytest

import workbench
from workbench.evaluation.graders import sandboxed
from workbench.evaluation.graders.sandbox import (
    LIMITS,
    Ran,
    SandboxLimits,
    close_sandboxes,
    guards,
    load_problem,
    run_python,
)

MB = 1024 * 1024
BRIEF = SandboxLimits(seconds=1.5)
linux = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere only Python itself refuses")


@pytest.fixture(scope="module", autouse=True)
def _closed() -> Iterator[None]:
    yield
    close_sandboxes()


def run(
    body: str, text: str = "", item: dict[str, object] | None = None, limits: SandboxLimits = LIMITS
) -> Ran:
    return run_python(source(body), text, item or {}, limits)


def source(body: str) -> str:
    return "def grade(sample, item):\n" + textwrap.indent(textwrap.dedent(body), "    ")


def test_a_grader_scores_what_it_is_shown():
    body = "return 0.25 * (sample['output_json']['a'] == 1) + 0.5 * (item['answer'] == 'é\\ud800')"
    assert run(body, '{"a": 1}', {"answer": "é\ud800"}) == Ran(0.75, "", "", "")


def test_a_grader_keeps_its_process_and_finds_an_empty_folder_each_time():
    body = "import os\nfound = len(os.listdir())\nopen('left', 'w').close()\nreturn os.getpid() + found / 10"
    assert run(body).score == run(body).score == int(run(body).score)


def test_two_graders_never_share_a_process():
    assert run("import os; return os.getpid()").score != run("import os; return  os.getpid()").score


# What it may not see


def test_no_variable_of_ours_is_visible(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", "the secret of this test")
    ran = run("import os; raise ValueError(sorted(os.environ))", "new environment")
    assert ran.problem.startswith("ValueError: ['HOME', 'LANG', 'MKL_NUM_THREADS'")
    assert "AZURE" not in ran.problem


@linux
@pytest.mark.parametrize("file", ["environ", "mem", "maps", "cwd/README.md"])
def test_its_parent_cannot_be_looked_into(file: str):
    body = f"import os; raise ValueError(open(f'/proc/{{os.getppid()}}/{file}', 'rb').read(100))"
    assert run(body).problem.startswith("PermissionError")


def test_files_of_ours_can_be_neither_read_nor_written(tmp_path: Path):
    (tmp_path / "mine").write_text("secret")
    for attempt in (
        f"open({str(tmp_path / 'mine')!r})",
        f"open({str(tmp_path / 'new')!r}, 'w')",
        f"import os; os.remove({str(tmp_path / 'mine')!r})",
        f"import os; os.listdir({str(tmp_path)!r})",
    ):
        assert run(attempt).problem.startswith("PermissionError"), attempt
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_the_workbench_itself_is_out_of_reach():
    assert run("import workbench").kind == "code"


# What it may not do


def test_there_is_no_network():
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0)
        port = server.getsockname()[1]
        ran = run(f"import socket; socket.create_connection(('127.0.0.1', {port}))")
        assert ran.problem == "PermissionError: a grader has no network, line 2 of grader.source"
        assert run("import urllib.request as r; r.urlopen('http://1.1.1.1')").kind == "code"
        with pytest.raises(BlockingIOError):
            server.accept()


@linux
def test_the_kernel_refuses_what_python_does_not_see():
    body = f"""
        import ctypes
        c = ctypes.CDLL(None, use_errno=True)
        tried = dict(
            socket=(2, 1, 0), fork=(), kill=({os.getpid()}, 0), ptrace=(16, {os.getpid()}, 0, 0),
            execv=(b"/bin/true", None), prctl=(1, 0), memfd_create=(b"x", 0),
        )
        results = set()
        for name, arguments in tried.items():
            results.add((getattr(c, name)(*arguments), ctypes.get_errno()))
        raise ValueError(results)
    """
    assert run(body).problem.startswith("ValueError: {(-1, 1)}, ")


@linux
def test_the_limits_cannot_be_lifted():
    body = "import resource as r; r.setrlimit(r.RLIMIT_AS, (r.RLIM_INFINITY, r.RLIM_INFINITY))"
    assert run(body).kind == "code"


@pytest.mark.parametrize(
    "attempt",
    [
        "import subprocess; subprocess.run(['true'])",
        "import os; os.system('true')",
        "import os; os.fork()",
        "import os; os.execv('/bin/true', ['true'])",
        "import os, signal; os.kill(os.getppid(), signal.SIGKILL)",
        "import os\nwhile True: os.fork()",
        "import multiprocessing as m; p = m.Process(target=print); p.start()",
    ],
)
def test_no_process_is_started_and_none_is_signalled(attempt: str):
    ran = run(attempt)
    assert (ran.kind, ran.problem[:16]) == ("code", "PermissionError:")


@linux
def test_threads_and_an_event_loop_are_allowed():
    body = """
        import asyncio, threading
        found = []
        thread = threading.Thread(target=found.append, args=(0.5,))
        thread.start(); thread.join()
        asyncio.run(asyncio.sleep(0))
        return found[0]
    """
    assert run(body).score == 0.5


@linux
def test_on_linux_the_kernel_is_the_guard():
    assert guards() == dict.fromkeys(("network", "processes", "files", "memory"), "kernel")


# How much it may take


@pytest.mark.parametrize(
    "hang", ["while True: pass", "import time; time.sleep(60)", "import re; re.match('(a+)+b', 'a' * 60)"]
)
def test_code_that_hangs_is_ended_and_the_next_answer_goes_on(hang: str):
    body = f"if sample['output_text'] == 'hang':\n    {hang}\nreturn 1"
    start = time.monotonic()
    assert run(body, "hang", limits=BRIEF) == pytest.approx(
        Ran(float("nan"), "", "it ran longer than 1.5 seconds", "timeout"), nan_ok=True
    )
    assert time.monotonic() - start < 5
    assert run(body, "next", limits=BRIEF).score == 1


def test_memory_has_an_end():
    body = "import itertools\nkept = []\nfor _ in itertools.count(): kept.append(bytearray(10_000_000))"
    assert run(body, limits=SandboxLimits(memory=400 * MB)).problem.startswith("MemoryError")
    assert run("return len(bytearray(100_000_000))", limits=SandboxLimits(memory=400 * MB)).score == 1e8


def test_a_file_has_an_end():
    ran = run("open('x', 'wb').write(bytes(3_000_000))", limits=SandboxLimits(disk=2 * MB))
    assert ran.problem.startswith("OSError: [Errno 27] File too large")


def test_many_files_have_an_end():
    body = "import itertools\nfor n in itertools.count(): open(str(n), 'wb').write(bytes(1_000_000))"
    ran = run(body, limits=SandboxLimits(disk=20 * MB))
    assert (ran.kind, ran.problem) == ("disk", "it wrote more than 20 MB")


@linux
@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (
            "import os\nkept = []\nfor n in range(9):\n"
            "    kept.append(open('x', 'wb')); os.remove('x')\n"
            "    kept[-1].write(bytes(10_000_000)); kept[-1].flush()",
            "wrote more than 20 MB",
        ),
        (
            "import ctypes, mmap, os\nc = ctypes.CDLL(None)\nc.mmap.restype = ctypes.c_void_p\n"
            "n = os.open('x', os.O_RDWR | os.O_CREAT); os.truncate('x', 10_000_000)\n"
            "c.mmap(None, 4096, 1, 1, n, ctypes.c_long(0)); os.remove('x'); os.close(n)",
            "hid the files that it has open",
        ),
        ("import os\nfor n in range(20_000): os.mkdir(str(n))", "made more than 500 files and folders"),
        ("for n in range(20_000): open(str(n), 'w').close()", "made more than 500 files and folders"),
        (
            "import os\nfor _ in range(100): os.mkdir('d'); os.chdir('d')",
            "made more than 64 folders in each other",
        ),
        (
            "import threading, time\nthreading.stack_size(65536)\n"
            "for _ in range(2000): threading.Thread(target=time.sleep, args=(9,), daemon=True).start()",
            "started more than 20 threads",
        ),
    ],
    ids=["deleted files", "a file that is only mapped", "folders", "files", "depth", "threads"],
)
def test_what_no_limit_of_the_kernel_counts_has_an_end(body: str, problem: str):
    start = time.monotonic()
    ran = run(
        f"{body}\nimport time; time.sleep(100)", limits=SandboxLimits(disk=20 * MB, files=500, threads=20)
    )
    assert ran.problem == f"it {problem}"
    assert time.monotonic() - start < 60


@linux
@pytest.mark.parametrize(
    "left",
    [
        "import threading\ndef count():\n    while True: print('x', file=open('left', 'a'), flush=True)\n"
        "threading.Thread(target=count, daemon=True).start()",
        "import signal\ndef count(*_): print('x', file=open('left', 'a'), flush=True)\n"
        "signal.signal(signal.SIGALRM, count); signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)",
    ],
    ids=["thread", "alarm"],
)
def test_nothing_goes_on_between_two_answers(left: str):
    folder = Path(_folder_of_a_grader(f"if item:\n    return 1\n{left}\n"))
    file = folder / "left"
    deadline = time.monotonic() + 10
    process = next(
        child for child in psutil.Process().children() if child.is_running() and child.cwd() == str(folder)
    )
    while process.status() != psutil.STATUS_STOPPED and time.monotonic() < deadline:
        time.sleep(0.02)
    assert process.status() == psutil.STATUS_STOPPED
    size = file.stat().st_size
    time.sleep(0.1)
    assert file.stat().st_size == size


@linux
def test_a_grader_that_was_stopped_goes_on_where_it_was():
    body = "import os, time\nif item: time.sleep(0.3)\nreturn os.getpid()"
    first = run(body).score
    process = psutil.Process(int(first))
    while process.status() != psutil.STATUS_STOPPED:
        time.sleep(0.02)
    assert run(body, item={"slow": True}).score == first


@linux
def test_what_an_idle_grader_left_open_ends_it():
    body = (
        "import os\nglobal kept\nkept = []\n"
        "for n in range(4 * len(item)):\n"
        "    kept.append(open('x', 'wb')); os.remove('x'); os.ftruncate(kept[-1].fileno(), 9_000_000)\n"
        "return os.getpid()"
    )
    process = psutil.Process(int(run(body, limits=SandboxLimits(disk=20 * MB)).score))
    run(body, item={"leave": True}, limits=SandboxLimits(disk=20 * MB))
    assert psutil.wait_procs([process], timeout=20)[1] == []


def test_a_folder_that_nobody_may_read_is_removed():
    folder = Path(_folder_of_a_grader("import os\nos.mkdir('a', 0); os.close(os.open('c', os.O_CREAT, 0))\n"))
    run("import os; os.mkdir('x', 0)")
    close_sandboxes()
    assert not folder.exists()


@pytest.mark.parametrize("ending", ["print('x' * 10**8)", "import os; os.write(1, bytes(10**8))"])
def test_what_it_prints_goes_nowhere(ending: str):
    assert run(f"{ending}; return 1").score == 1


# How it may end


def test_an_exit_is_an_error_like_any_other():
    assert run("import sys; sys.exit(3)").problem == "SystemExit: 3, line 2 of grader.source"
    assert run("raise KeyboardInterrupt").problem == "KeyboardInterrupt, line 2 of grader.source"


def test_a_process_that_ends_takes_only_its_answer_along():
    body = "import os\nif sample['output_text'] == 'die': os._exit(3)\nreturn 1"
    assert run(body, "die").problem == "it ended its process (exit code 3)"
    assert run(body, "live").score == 1


@linux
def test_a_crash_is_told_by_its_name():
    ran = run("import ctypes; ctypes.string_at(0)")
    assert (ran.kind, ran.problem) == ("exit", "it ended its process (SIGSEGV)")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("'1'", "str '1'"),
        ("None", "None"),
        ("[1]", "list [1]"),
        ("1j", "complex 1j"),
        ("float('nan')", "nan"),
        ("-float('inf')", "-inf"),
        ("lambda: 1", "function <function"),
    ],
)
def test_what_is_no_finite_number_is_no_score(value: str, shown: str):
    ran = run(f"return {value}")
    assert ran.problem.startswith(f"grade returned {shown}")
    assert ran.kind == "code"


@pytest.mark.parametrize(
    ("value", "score"),
    [
        ("True", 1.0),
        ("7", 7.0),
        ("__import__('fractions').Fraction(1, 4)", 0.25),
        ("__import__('numpy').float32(0.5)", 0.5),
    ],
)
def test_every_real_number_is_a_score(value: str, score: float):
    assert run(f"return {value}").score == score


def test_a_number_too_large_is_an_error():
    assert run("return 10 ** 400").problem == "OverflowError: int too large to convert to float"


def test_an_error_that_cannot_be_shown_is_told_by_its_kind():
    body = "class Sly(Exception):\n    def __str__(self): raise SystemExit\nraise Sly"
    assert run(body).problem == "Sly"


@linux
def test_a_forged_reply_is_no_score():
    body = """
        import os
        for number in range(3, 256):
            try: os.write(number, b'{"score": NaN}\\n{"score": 1.0}\\n')
            except OSError: pass
        return 0
    """
    assert run(body).kind == "output"


@linux
@pytest.mark.parametrize(
    "reply",
    [
        "b'[' * 30_000 + b'\\n'",
        "b'{\"score\": ' + b'[' * 30_000 + b']' * 30_000 + b'}\\n'",
        "b'{\"score\": 1, \"reason\": ' + b'[' * 200 + b']' * 200 + b'}\\n'",
        "b'9' * 60_000 + b'\\n'",
        "b'\\xff\\n'",
        "b'[]\\n'",
    ],
)
def test_a_reply_of_its_own_making_is_its_own_error(reply: str):
    body = f"""
        import os, time
        for number in range(3, 256):
            try: os.write(number, {reply})
            except OSError: pass
        time.sleep(20)
    """
    ran = run(body)
    assert (ran.kind, ran.problem) == ("output", "it replied with something that is no reply")


def test_a_problem_of_its_own_making_is_no_score():
    body = """
        import gc, io, time
        for one in gc.get_objects():
            if isinstance(one, io.BufferedWriter):
                one.write(b'{"score": true}\\n'); one.flush()
        time.sleep(20)
    """
    assert run(body).problem == "it replied with no score"


@linux
def test_a_reply_that_never_ends_is_ended():
    body = """
        import os, time
        while True:
            for number in range(3, 256):
                try: os.write(number, b"1")
                except OSError: pass
            time.sleep(0.01)
    """
    assert run(body, limits=BRIEF).kind == "timeout"


def test_a_way_to_reply_that_is_closed_is_told():
    ran = run("import os, time; os.closerange(3, 256); time.sleep(60)")
    assert (ran.kind, ran.problem) == ("output", "it closed the way on which it replies")


def test_folders_in_folders_do_no_harm():
    body = "import os\nfor _ in range(3000):\n    os.mkdir('d'); os.chdir('d')\nreturn 1"
    assert run(body).kind in ("disk", "code")
    assert run("return 1").score == 1


# Loading


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("return (", "SyntaxError: '(' was never closed (<grader.source>, line 1), line 1 of grader.source"),
        ("x = 1", "it defines no function grade(sample, item); add one"),
        ("import nowhere_1", "ModuleNotFoundError: No module named 'nowhere_1', line 1 of grader.source"),
        ("#" * 300_000, "it has 300,000 bytes; at most 262,144 run"),
        ("import os; os._exit(1)", "it ended its process (exit code 1)"),
        (
            "(" * 50_000,
            "SyntaxError: too many nested parentheses (<grader.source>, line 1), line 1 of grader.source",
        ),
    ],
)
def test_a_source_that_is_no_grader_is_told(text: str, problem: str):
    assert load_problem(text) == problem


def test_a_source_that_hangs_while_loading_is_ended():
    assert load_problem("while True: pass", BRIEF) == "it ran longer than 1.5 seconds"


def test_an_item_that_is_no_json_is_told():
    deep: object = 1
    for _ in range(100_000):
        deep = [deep]
    assert run("return 1", item={"deep": deep}).problem.startswith(
        "the item cannot be written as JSON: maximum"
    )
    assert run("return 1", item={"odd": {(1, 2): 3}}).kind == "code"
    assert run("return len(item['day'])", item={"day": date(2026, 1, 2)}).score == 10


# Several at once, and the end


def test_several_threads_may_grade_at_the_same_time():
    body = "import time; time.sleep(0.001); return float(sample['output_text'])"
    with ThreadPoolExecutor(8) as threads:
        ran = list(threads.map(lambda number: run(body, str(number)).score, range(200)))
    assert ran == [float(number) for number in range(200)]


def test_closing_ends_every_process_and_removes_every_folder():
    folder = Path(_folder_of_a_grader())
    assert folder.is_dir()
    alive = [one for one in psutil.Process().children() if one.status() != psutil.STATUS_ZOMBIE]
    ours = [child for child in alive if "sandboxed" in " ".join(child.cmdline())]
    assert ours
    close_sandboxes()
    assert not folder.exists()
    assert not any(child.is_running() for child in ours)
    assert run("return 1").score == 1  # a new one opens by itself


def test_closing_stops_what_is_being_graded():
    close_sandboxes()
    with ThreadPoolExecutor(1) as threads:
        grading = threads.submit(run, "import time; time.sleep(60)")
        while not psutil.Process().children():
            pass
        close_sandboxes()
        ran = grading.result(timeout=20)
    assert (ran.kind, ran.problem) == ("closed", "it was stopped, because sandboxes were closed")


def _folder_of_a_grader(before: str = "") -> str:
    told = run(f"{before}import os; raise ValueError(os.getcwd())").problem
    return told.removeprefix("ValueError: ").split(",")[0]


@linux
def test_a_grader_ends_with_its_parent_however_that_ends():
    code = (
        "from workbench.evaluation.graders.sandbox import run_python\n"
        "source = 'import os\\ndef grade(s, i):\\n    os.write(1, b\"\")\\n    while True: pass\\n'\n"
        "print('ready', flush=True)\n"
        "run_python(source, '', {})\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    parent.stdout.readline()
    children: list[psutil.Process] = []
    while not children:
        children = psutil.Process(parent.pid).children()
    folder = Path(children[0].cwd())
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    gone, alive = psutil.wait_procs(children, timeout=20)
    assert (len(gone), alive) == (1, [])
    if folder.name.startswith("workbench-grader-"):
        folder.rmdir()  # nobody was left to do it


# What runs inside, as a file


def test_what_runs_inside_needs_nothing_but_the_standard_library():
    tree = ast.parse(Path(sandboxed.__file__).read_text(encoding="utf-8"))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.split(".")[0] for name in imported} <= set(sys.stdlib_module_names)


def test_grading_writes_nothing_into_the_package(tmp_path: Path):
    package = Path(workbench.__file__).parent
    shutil.copytree(package, tmp_path / "workbench", ignore=shutil.ignore_patterns("__pycache__"))
    code = (
        "from workbench.evaluation.graders.sandbox import close_sandboxes, run_python\n"
        "print(run_python('def grade(s, i): return 1', '', {}).score)\nclose_sandboxes()\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    run = [sys.executable, "-B", "-c", code]
    done = subprocess.run(run, env=environment, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout == "1.0\n"
    assert list(tmp_path.rglob("__pycache__")) == []
