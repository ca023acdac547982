"""The model that the tests of training train."""

from pathlib import Path

import pytest
import torch

from workbench.local.models.bases import build_nano
from workbench.local.models.model import Base, load_base


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("models") / "nano"
    build_nano(made)
    return made


@pytest.fixture
def base(folder: Path) -> Base:
    return load_base("nano", folder, dtype=torch.float32)
