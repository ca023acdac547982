"""A training method that nobody has, to see that an entry in the tables is all it takes."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.catalog.limits import SPECIFICATION
from workbench.catalog.methods import COMMON, METHODS, Hyperparameter, Method

if TYPE_CHECKING:
    from workbench.local.models.model import Base, TokenRow
    from workbench.local.training.run import BatchLoss, RunSettings

LOUDNESS = Hyperparameter(
    "loudness",
    "float",
    "how loud the echo is; with {examples} 2 is usual",
    "2",
    SPECIFICATION,
    low=0,
    high=11,
    above_low=True,
    default=2.0,
)
ECHO = Method(
    "echo",
    "ech",
    "chat",
    "echo",
    "demonstrations",
    (*COMMON, LOUDNESS),
    ("train_loss", "train_echo", "full_valid_loss", "full_valid_echo"),
)


def train_by_echo(home: Path, models: Path, job: str) -> None:
    """Train a job in a process whose tables have the method."""
    from workbench.local.training import training_worker
    from workbench.local.training.run import BatchLoss
    from workbench.local.training.supervised import Supervised

    class Echo(Supervised):
        def loss(self, base: "Base", rows: "Sequence[TokenRow]", plan: "RunSettings") -> "BatchLoss":
            found = super().loss(base, rows, plan)
            loudness = float(plan.more["loudness"])
            return BatchLoss(loudness * found.loss, {"echo": loudness}, found.weight, found.of_rows)

    METHODS["echo"] = ECHO  # type: ignore[index]
    training_worker.TRAINERS["echo"] = Echo()  # type: ignore[index]
    training_worker.train(home, models, job)


if __name__ == "__main__":
    train_by_echo(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
