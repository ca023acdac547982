"""Prompts: what a model is told around each question.

The same questions are asked with several prompts, so that the base model meets
the tuned one with its own best: as it was trained, with engineered
instructions, with shots (solved examples in front). A prompt is a name and
those parts; the questions stay in the dataset.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass

from workbench.dataset.examples import Dataset, Example
from workbench.errors import DataError
from workbench.tables import table


@dataclass(frozen=True)
class Prompt:
    """What stands around a question.

    ``system`` takes the place of each example's own system message; None keeps
    the example's own, and the empty text sends none. ``shots`` are examples
    shown before the question as questions and answers, in their order.
    """

    name: str
    system: str | None = None
    shots: tuple[Example, ...] = ()

    def __post_init__(self) -> None:
        """Take any sequence of shots, a dataset too."""
        object.__setattr__(self, "shots", tuple(self.shots))

    def messages(self, example: Example) -> list[dict[str, object]]:
        """Write the messages to send for an example: everything but its answer."""
        own = [message for message in example.prompt if _instructs(message)]
        leading = [_sent(message) for message in own]
        if self.system is not None:
            leading = [{"role": "system", "content": self.system}] if self.system else []
        shown = [message for shot in self.shots for message in shot.messages]
        turns = [message for message in (*shown, *example.prompt) if not _instructs(message)]
        return [*leading, *(_sent(message) for message in turns)]

    def _repr_html_(self) -> str:
        system = "each example's own" if self.system is None else self.system or "none"
        rows = [("system", system)]
        for shot in self.shots:
            rows += [("user", shot.question), ("assistant", shot.answer)]
        return table(f"Prompt “{self.name}”", ("role", "content"), [*rows, ("user", "the question")])


AS_TRAINED = Prompt("as trained")
"""Each example's own system message and its question: how a tuned model was trained to be asked."""


def shots_from(
    dataset: Dataset, k: int, *, test: Dataset | None = None, seed: int = 0
) -> tuple[Example, ...]:
    """Choose ``k`` examples to show, from short answers to long ones, and none whose question is tested.

    The examples are put in order of their answers' length and cut into ``k``
    bands; the seed draws one of each band. So the same call chooses the same.
    """
    asked = {example.question.strip() for example in test or ()}
    free = [example for example in dataset if example.question.strip() not in asked]
    if len(free) < k:
        raise DataError(
            f"{dataset.name} has {len(free)} examples whose question is not in the test set, "
            f"and {k} shots were asked for; ask for fewer."
        )
    free.sort(key=lambda example: len(example.answer))
    drawn = random.Random(seed)
    bands = [(len(free) * band // k, len(free) * (band + 1) // k) for band in range(k)]
    return tuple(free[drawn.randrange(start, end)] for start, end in bands)


def _instructs(message: Mapping[str, object]) -> bool:
    return message["role"] in ("system", "developer")


def _sent(message: Mapping[str, object]) -> dict[str, object]:
    """Leave out ``weight``: it is for training, and a service refuses it in a question."""
    return {key: value for key, value in message.items() if key != "weight"}
