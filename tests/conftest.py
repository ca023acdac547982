"""All tests, the notebooks among them, work in a temporary home on nano; no ``.env`` reaches them."""

import os
import re
import shutil
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path

import hypothesis
import pytest
from xdist.scheduler import LoadFileScheduling

from workbench import settings
from workbench.local import process

# The same examples in every run, so that a red test is about the change; `pytest --hypothesis-profile=search`
# looks for new ones.
# No deadline and no check of speed: how fast examples are drawn is the machine's affair.
hypothesis.settings.register_profile(
    "same",
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.register_profile("search", database=None)
hypothesis.settings.load_profile("same")

HOME = pytest.StashKey[Path]()
# Set to nothing rather than removed: what is not set at all may come back from a ``.env``.
NOWHERE = dict.fromkeys(
    (
        "WORKBENCH_LOCAL_KEY",
        "AZURE_OPENAI_ENDPOINT",
        "AZURE_OPENAI_API_KEY",
        "AZURE_OPENAI_TOKEN_SCOPE",
        "AZURE_OPENAI_RESOURCE",
        "AZURE_SUBSCRIPTION_ID",
        "AZURE_MANAGEMENT_ENDPOINT",
        "AZURE_TOKEN_CREDENTIALS",
        "OPENAI_API_KEY",
        "OPENAI_API_VERSION",
        "WORKBENCH_PRICES",
    ),
    "",
)

WORKERS = 2  # each has services, kernels and a browser of its own beside it

# Run together in one process: the notebooks, as each goes on from the last, and the files that share a lab.
TOGETHER = (".ipynb", "test_browser")
# The longest first, so that at the end no process waits for the other.
LONGEST = (
    "tests/notebooks/test_notebooks.py",
    "test_browser",
    "tests/notebooks/test_reinforcement.py",
    "tests/notebooks/test_preferences.py",
    "tests/test_house.py",
    "tests/test_readme.py",
    "tests/local/test_workers.py",
    "tests/test_dependencies.py",
    ".ipynb",
    "tests/local/training/test_training_worker.py",
    "tests/training/test_diagnosis_real.py",
    "tests/local/test_kill.py",
    "tests/notebooks/test_killed_kernel.py",
    "tests/local/test_process.py",
    "tests/training/test_jobs.py",
)


def whole_of(nodeid: str) -> str:
    """What this test is run with, in one process: its file, or several files."""
    file = nodeid.partition("::")[0]
    return next((name for name in TOGETHER if name in file), file)


class Scheduler(LoadFileScheduling):
    """Gives a process whole files, or several that belong together."""

    def _split_scope(self, nodeid: str) -> str:
        return whole_of(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> Scheduler:
    """Have what belongs together run in one process."""
    return Scheduler(config, log)


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Run everything in two processes, and what somebody names in this one."""
    return WORKERS if config.args_source is config.ArgsSource.TESTPATHS else 0


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first."""
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(whole_of(item.nodeid), len(places)))


def pytest_configure(config: pytest.Config) -> None:
    """Give this process, and the kernels and services it starts, a home of their own."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # A shell starts what runs in its background so, and everything that is started here would inherit it.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    models = str(settings.models_in(settings.home()))  # fetched once, not by every run
    config.stash[HOME] = temporary = Path(tempfile.mkdtemp(prefix="workbench-"))
    os.environ |= NOWHERE | {
        "WORKBENCH_HOME": str(temporary),
        "WORKBENCH_MODELS": models,
        "WORKBENCH_MODEL": "nano",
        "WORKBENCH_PROVIDER": "local",
        "WORKBENCH_HEADLESS": "1",
        "OMP_NUM_THREADS": "1",  # models this small gain nothing from more, and lose much beside other work
        "IPYTHONDIR": str(temporary / "ipython"),
    }


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop the service that was started there, by the process id it recorded, and clear up."""
    process.stop(config.stash[HOME])
    shutil.rmtree(config.stash[HOME], ignore_errors=True)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home, and no setting that speaks of another one."""
    for name in (*NOWHERE, "WORKBENCH_MODELS", "WORKBENCH_MODEL", "WORKBENCH_PROVIDER", "WORKBENCH_HEADLESS"):
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def unstyled() -> Callable[[str], str]:
    """HTML without its looks, to be compared by its words and structure."""
    return lambda html: re.sub(r' (style="[^"]*"|class="mathjax_ignore")', "", html)


@pytest.fixture(scope="session")
def models() -> Path:
    """Base weights, fetched once and shared by all homes."""
    return Path(os.environ["WORKBENCH_MODELS"])
