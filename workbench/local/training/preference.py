"""Direct preference optimisation (DPO): to make the preferred of two answers likelier than the rejected one.

    -log sigmoid(beta [(log pi/ref)(chosen) - (log pi/ref)(rejected)])

pi is the model and ref what it was before the first step, so that the loss starts at ln 2 (Rafailov et al.
2023, arXiv 2305.18290). Apart because each training method has a module of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional

from workbench.dataset.chat_template import both_answers
from workbench.dataset.dataset import Dataset
from workbench.local.models.model import Base, TokenRow, encode_dataset
from workbench.local.training.packing import log_probabilities
from workbench.local.training.run import FINAL_SHARE, BatchLoss, RunSettings


@dataclass(frozen=True, kw_only=True)
class PairRow(TokenRow):
    """A prompt with the preferred answer, and beside it the same prompt with the rejected one.

    ``reference`` is the log-probability of each answer, in nats, before the first step.
    """

    rejected: TokenRow

    @property
    def size(self) -> int:
        """How many tokens are read of it; the prompt counts once."""
        return len(self.tokens) + sum(self.rejected.learnt)


class Preference:
    """Learning from pairs."""

    learning_rate = 5e-4  # SmolLM2 with LoRA rank 8: from 3 to 6e-4; above, answers fall apart
    auto_steps = 16  # 8 to 16 move a preference, an epoch of 128 pairs; more cost accuracy
    warm_up_steps = 6
    final_share = FINAL_SHARE

    def encode(self, base: Base, dataset: Dataset) -> list[TokenRow]:
        """The pairs as the chat template writes them; ``DataError`` names one that is too long."""
        examples = [
            tuple(replace(example, messages=both_answers(example)[side]) for example in dataset)
            for side in (0, 1)
        ]
        preferred, rejected = (
            encode_dataset(base.tokenizer, replace(dataset, examples=side), base.context) for side in examples
        )
        pairs = zip(preferred, rejected, strict=True)
        return [PairRow(chosen.tokens, chosen.learnt, rejected=other) for chosen, other in pairs]

    def has_loss(self, row: TokenRow) -> bool:
        """Whether both answers have a token that counts."""
        return any(row.learnt) and any(cast(PairRow, row).rejected.learnt)

    def reference(self, base: Base, rows: Sequence[TokenRow]) -> Sequence[tuple[float, ...]]:
        """The log-probability of the preferred and of the rejected answer."""
        chosen, rejected = _log_probabilities(base, rows)[0].tolist()
        return list(zip(chosen, rejected, strict=True))

    def loss(self, base: Base, rows: Sequence[TokenRow], plan: RunSettings) -> BatchLoss:
        """That of the pairs, and ``chosen_likelihood`` times the preferred answers' own loss."""
        likelihoods, chosen_loss = _log_probabilities(base, rows)
        known = torch.tensor([row.reference for row in rows], device=likelihoods.device).T
        rewards = float(plan.more["beta"]) * (likelihoods - known)
        margins = rewards[0] - rewards[1]
        losses = -functional.logsigmoid(margins)
        share = float(plan.more["chosen_likelihood"])
        loss = losses.mean() + share * chosen_loss if share else losses.mean()
        measured = {
            "rewards/chosen": rewards[0],
            "rewards/rejected": rewards[1],
            "rewards/margins": margins,
            "rewards/accuracies": (margins > 0).float(),
            "logps/chosen": likelihoods[0],
            "logps/rejected": likelihoods[1],
        }
        means = {name: values.detach().mean().item() for name, values in measured.items()}
        return BatchLoss(loss, means, len(rows), losses.detach().tolist())


def _log_probabilities(base: Base, rows: Sequence[TokenRow]) -> tuple[Tensor, Tensor]:
    """Of each preferred and each rejected answer (2, pairs); and the mean loss of the preferred tokens."""
    both = [*rows, *(cast(PairRow, row).rejected for row in rows)]
    found, owners = log_probabilities(base.model, both)
    sums = found.new_zeros(len(both)).index_add(0, owners, found)
    return sums.view(2, -1), -found[owners < len(rows)].mean()
