"""What several tests need: a home of their own."""

import os
from pathlib import Path

import pytest


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home that nothing outside the test can be reached from."""
    for name in [name for name in os.environ if name.startswith(("WORKBENCH_", "AZURE_OPENAI_", "OPENAI_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture(scope="session")
def models() -> Path:
    """Base weights, fetched once and shared by all homes (``conftest.py`` above says where)."""
    return Path(os.environ["WORKBENCH_MODELS"])
