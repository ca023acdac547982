"""Preference pairs of what people chose: what direct preference optimization (DPO) learns from."""

from collections.abc import Iterator
from dataclasses import replace

from workbench.dataset.examples import TOOLS, Dataset, Example, counted
from workbench.dataset.preference import Scored, pairs_from_samples
from workbench.errors import DataError
from workbench.evaluation.preferring.matches import Match, Side
from workbench.evaluation.preferring.preferences import Preferences


def pairs(preferences: Preferences, dataset: Dataset) -> Dataset:
    """Make a pair of each question on which more raters preferred one answer: that one, and the other.

    ``dataset`` is the one that was evaluated; each pair has its prompt, tools included. Ties, "both bad"
    and even splits give none. A pair's metadata holds how the raters were split (``preferred_score``,
    from 0.5 to 1) and, where one person rated, whether the preferred answer stood first, so that
    ``bias`` can look for what they have in common. Raises ``DataError`` when nothing was preferred, or
    when a question is not in ``dataset``.
    """
    prompts = {(example.origin, example.question): example for example in dataset}
    shown = _shown_first(preferences)
    made: list[Example] = []
    for match, value in preferences.values.items():
        if value != 0.5:
            example = prompts.get((match.origin, match.question))
            if example is None:
                raise DataError(
                    f"{dataset.name} has no example {match.origin} with the question that was rated; "
                    "give the dataset that was evaluated."
                )
            made += _pair(match, value, shown[match], example)
    if not made:
        raise DataError(f"No pair: no answer was preferred. {preferences.verdict}")
    undecided = len(preferences.values) - len(made)
    notes = (f"{counted(undecided, 'question')} gave no pair: no answer was preferred",) if undecided else ()
    return Dataset(f"{dataset.name} (preferred)", tuple(made), notes)


def _shown_first(preferences: Preferences) -> dict[Match, Side | None]:
    """Whose answer was shown first; None where raters saw both orders."""
    shown: dict[Match, set[Side | None]] = {}
    for match, rating in preferences.counted:
        shown.setdefault(match, set()).add(rating.first)
    return {match: firsts.pop() if len(firsts) == 1 else None for match, firsts in shown.items()}


def _pair(match: Match, value: float, first: Side | None, example: Example) -> Iterator[Example]:
    """One pair; made question by question, as scores of different questions do not compare."""
    sides = (("base", match.base, 1 - value), ("tuned", match.tuned, value))
    answers = [
        Scored(example.prompt, text, score, match.origin, {**example.metadata, "preferred_from": side})
        for side, text, score in (sides if first != "tuned" else sides[::-1])
    ]
    beside = {key: value for key, value in example.more.items() if key in TOOLS}
    for pair in pairs_from_samples(answers, name=match.origin):
        metadata = dict(pair.metadata)
        if first is None:
            del metadata["preferred_first"]
        yield replace(pair, more={**beside, **pair.more}, metadata=metadata)
