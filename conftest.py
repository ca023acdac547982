"""All tests, the notebooks among them, work in a temporary home on the nano model; no ``.env`` reaches them.

It lies here because pytest also runs the notebooks as committed, and those know nothing of fixtures.
"""

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from workbench.local import process
from workbench.settings import home, setting

HOME = pytest.StashKey[Path]()


def pytest_configure(config: pytest.Config) -> None:
    """Give this process, and the kernels and services it starts, a home of their own."""
    models = setting("WORKBENCH_MODELS") or str(home() / "models")  # fetched once, not by every run
    config.stash[HOME] = temporary = Path(tempfile.mkdtemp(prefix="workbench-"))
    os.environ |= {
        "WORKBENCH_HOME": str(temporary),
        "WORKBENCH_MODELS": models,
        "WORKBENCH_MODEL": "nano",
        "WORKBENCH_PROVIDER": "local",
        "WORKBENCH_LOCAL_KEY": "",
        "WORKBENCH_HEADLESS": "1",
        "AZURE_OPENAI_ENDPOINT": "",
        "AZURE_OPENAI_API_KEY": "",
        "OPENAI_API_KEY": "",
        "IPYTHONDIR": str(temporary / "ipython"),
    }


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop the service that was started there, by the process id it recorded, and clear up."""
    process.stop(config.stash[HOME])
    shutil.rmtree(config.stash[HOME], ignore_errors=True)
