"""Prompts: what a model is told around each question.

The same questions are asked with several prompts, so that the base model meets
the tuned one with its own best: as it was trained, with engineered instructions,
with shots (solved examples in front), with what was looked up for the question.
A prompt is a name and those parts; the questions stay in the dataset.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from workbench.dataset.examples import Dataset, Example
from workbench.errors import DataError
from workbench.evaluation.asking.retrieval import Documents, Gold, Nearest, Passage, plain
from workbench.project import JSON
from workbench.tables import table

PASTED = "Answer with the help of this:\n\n{passages}\n\nThe question:\n\n"


@dataclass(frozen=True)
class Prompt:
    """What stands around a question.

    ``system`` takes the place of each example's own system message; None keeps
    the example's own, and the empty text sends none. ``shots`` are examples
    shown before the question as questions and answers, in their order; ``nearest``
    looks further ones up for each question. ``context`` puts passages into the
    question's own message, where they leave everything before it cacheable.
    """

    name: str
    system: str | None = None
    shots: tuple[Example, ...] = ()
    nearest: Nearest | None = None
    context: Documents | Gold | None = None

    def __post_init__(self) -> None:
        """Take any sequence of shots, a dataset too; of each, what is shown and where it came from."""
        object.__setattr__(self, "shots", tuple(Example(s.messages, s.origin) for s in self.shots))

    def messages(self, example: Example) -> list[dict[str, object]]:
        """Write the messages to send for an example: everything but its answer."""
        own = [message for message in example.prompt if _instructs(message)]
        leading = [_sent(message) for message in own]
        if self.system is not None:
            leading = [{"role": "system", "content": self.system}] if self.system else []
        shots = (*self.shots, *(self.nearest.shots(example) if self.nearest else ()))
        shown = [message for shot in shots for message in shot.messages]
        turns = [message for message in (*shown, *example.prompt) if not _instructs(message)]
        sent = [*leading, *(_sent(message) for message in turns)]
        passages = self.context.texts(example) if self.context else ()
        return _with_passages(sent, passages) if passages else sent

    @property
    def facts(self) -> dict[str, JSON]:
        """All of it as JSON; ``prompt_from`` makes it a prompt again."""
        shots: JSON = [_fact(shot) for shot in self.shots]
        facts: dict[str, JSON] = {"name": self.name, "system": self.system, "shots": shots}
        if self.nearest is not None:
            facts["nearest"] = {"k": self.nearest.k, "pool": [_fact(known) for known in self.nearest.pool]}
        if isinstance(self.context, Gold):
            facts["gold"] = self.context.column
        elif self.context is not None:
            passages: JSON = [{"text": each.text, "origin": each.origin} for each in self.context.passages]
            facts["documents"] = {"k": self.context.k, "passages": passages}
        return facts

    def _repr_html_(self) -> str:
        system = "each example's own" if self.system is None else self.system or "none"
        rows = [("system", system)]
        for shot in self.shots:
            rows += [("user", shot.question), ("assistant", shot.answer)]
        rows += [("looked up", repr(part)) for part in (self.nearest, self.context) if part]
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


def nearest(dataset: Dataset, k: int, *, test: Dataset | None = None) -> Nearest:
    """Look up for each question the ``k`` examples most like it, and none whose question is tested."""
    if k < 1:
        raise DataError(f"{k} examples are none to look up; ask for 1 or more.")
    tested = {plain(example.question) for example in test or ()}
    answered = (example for example in dataset if example.method == "sft")
    free = tuple(Example(e.messages, e.origin) for e in answered if plain(e.question) not in tested)
    if not free:
        raise DataError(
            f"{dataset.name} has no example to show: none with an answer whose question is not tested."
        )
    return Nearest(free, k)


def gold_context(prompt: Prompt, column: str) -> Prompt:
    """Give the prompt, in place of what it looks up in documents, the right passage: a column of the test."""
    return replace(prompt, name="gold context", context=Gold(column))


def prompt_from(facts: Mapping[str, JSON]) -> Prompt:
    """Make a prompt of its ``facts``; a ``KeyError``, ``TypeError`` or ``ValueError`` if they are none."""
    system, gold = facts["system"], facts.get("gold")
    nearest, documents = _part(facts, "nearest"), _part(facts, "documents")
    context: Documents | Gold | None = None if gold is None else Gold(str(gold))
    if documents is not None:
        passages = (Passage(str(each["text"]), str(each["origin"])) for each in _parts(documents["passages"]))
        context = Documents(tuple(passages), int(str(documents["k"])))
    return Prompt(
        str(facts["name"]),
        None if system is None else str(system),
        _examples(facts["shots"]),
        None if nearest is None else Nearest(_examples(nearest["pool"]), int(str(nearest["k"]))),
        context,
    )


def _with_passages(sent: Sequence[dict[str, object]], passages: Sequence[str]) -> list[dict[str, object]]:
    """Put the passages in front of the last question, whether it is one text or a list of parts."""
    asked = max((place for place, message in enumerate(sent) if message["role"] == "user"), default=None)
    if asked is None:
        return list(sent)
    pasted = PASTED.format(passages="\n\n".join(passages))
    content = sent[asked]["content"]
    parts = content if isinstance(content, list | tuple) else ()
    joined = f"{pasted}{content}" if isinstance(content, str) else [{"type": "text", "text": pasted}, *parts]
    return [*sent[:asked], {**sent[asked], "content": joined}, *sent[asked + 1 :]]


def _fact(example: Example) -> dict[str, JSON]:
    return {"messages": [dict(message) for message in example.messages], "origin": example.origin}


def _examples(facts: JSON) -> tuple[Example, ...]:
    return tuple(
        Example(tuple(_parts(each["messages"])), origin=str(each["origin"])) for each in _parts(facts)
    )


def _part(facts: Mapping[str, JSON], name: str) -> Mapping[str, JSON] | None:
    return None if name not in facts else _parts([facts[name]])[0]


def _parts(facts: JSON) -> list[Mapping[str, JSON]]:
    if not isinstance(facts, list | tuple) or not all(isinstance(each, Mapping) for each in facts):
        raise TypeError("a list of objects was expected")
    return [each for each in facts if isinstance(each, Mapping)]


def _instructs(message: Mapping[str, object]) -> bool:
    return message["role"] in ("system", "developer")


def _sent(message: Mapping[str, object]) -> dict[str, object]:
    """Leave out ``weight``: it is for training, and a service refuses it in a question."""
    return {key: value for key, value in message.items() if key != "weight"}
