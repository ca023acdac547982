"""Supervised fine-tuning: the loss of the assistant's tokens, and only of these.

Apart because each training method has a module of its own.
"""

import math
from collections.abc import Sequence

from torch.nn import functional

from workbench.dataset.dataset import Dataset
from workbench.local.models.model import Base, TokenRow, encode_dataset, logits
from workbench.local.training.packing import IGNORED, hidden_states, pack
from workbench.local.training.run import BatchLoss, RunSettings

ACCURACY = "mean_token_accuracy"  # share of learnt tokens predicted right


class Supervised:
    """Learning from examples."""

    def encode(self, base: Base, dataset: Dataset) -> list[TokenRow]:
        """The conversations as the chat template writes them; ``DataError`` names one that is too long."""
        return encode_dataset(base.tokenizer, dataset, base.context)

    def has_loss(self, row: TokenRow) -> bool:
        """Whether a token of it is learnt."""
        return any(row.learnt)

    def loss(self, base: Base, rows: Sequence[TokenRow], plan: RunSettings) -> BatchLoss:
        """That of the assistant's tokens; no hyperparameter of the method is part of it."""
        return learnt_loss(base, rows)


def learnt_loss(base: Base, rows: Sequence[TokenRow]) -> BatchLoss:
    """Mean negative log-likelihood over the learnt tokens of ``rows``, ready for ``backward``.

    The output head, 49,152 wide, runs on these tokens only: 1.16 times the speed of running it on all.
    """
    packed = pack(rows, base.model.device)
    learnt = packed.targets != IGNORED
    scores = logits(base.model, hidden_states(base.model, packed)[learnt])
    wanted, owners = packed.targets[learnt], packed.layout.owners[learnt]
    if not len(wanted):  # rows that are only read: no loss, and no gradient
        return BatchLoss(scores.sum(), {ACCURACY: 0.0}, 0, [math.nan] * len(rows))
    losses = functional.cross_entropy(scores, wanted, reduction="none")
    hits = (scores.detach().argmax(-1) == wanted).float().mean().item()
    sums = losses.new_zeros(len(rows)).index_add(0, owners, losses.detach())
    of_rows: list[float] = (sums / owners.bincount(minlength=len(rows))).tolist()
    return BatchLoss(losses.mean(), {ACCURACY: hits}, len(wanted), of_rows)
