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
hypothesis.settings.register_profile("same", derandomize=True, database=None)
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
        "OPENAI_API_KEY",
        "OPENAI_API_VERSION",
        "WORKBENCH_PRICES",
    ),
    "",
)


WORKERS = 2  # each has services, kernels and a browser of its own beside it

# The longest first, so that at the end no process waits for the other: files by the seconds that they take.
LONGEST = ()


class Scheduler(LoadFileScheduling):
    """Gives a process whole files, or all that share a lab, or all notebooks: each goes on from the last."""

    def _split_scope(self, nodeid: str) -> str:
        file: str = super()._split_scope(nodeid)
        shared = ("test_browser", ".ipynb")
        return next((what for what in shared if what in file), file)


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> Scheduler:
    """Have whole files, and all notebooks, run in one process."""
    return Scheduler(config, log)


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Run everything in two processes, and what somebody names in this one."""
    return WORKERS if config.args_source is config.ArgsSource.TESTPATHS else 0


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first."""
    places = {file: place for place, file in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.nodeid.partition("::")[0], len(places)))


def pytest_configure(config: pytest.Config) -> None:
    """Give this process, and the kernels and services it starts, a home of their own."""
    if (
        signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    ):  # run in the background: what we start would not hear it
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
    return lambda html: re.sub(r' style="[^"]*"', "", html)


@pytest.fixture(scope="session")
def models() -> Path:
    """Base weights, fetched once and shared by all homes."""
    return Path(os.environ["WORKBENCH_MODELS"])
