"""Test items that the model has seen in training: their score is a recital."""

from workbench.dataset.checking.check import check
from workbench.dataset.examples import Dataset


def leaked(test: Dataset, training: Dataset) -> frozenset[str]:
    """The origins of the rows of ``test`` that ``training`` asks too, word for word or nearly so.

    The check of training data finds what it shares with a test; here it is asked the other way round.
    """
    found = check(test, test=training, only=("repeats",))
    return frozenset(
        problem.origin for rule in ("overlap", "near_overlap") for problem in found.of(rule) if problem.origin
    )
