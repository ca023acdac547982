"""Same answer but for capitals, white space, punctuation and English articles: 1.0 or 0.0.

The normalisation is SQuAD's (Rajpurkar and others, 2016; ``normalize_answer`` of its evaluation script):
lower case, ASCII punctuation out, a, an and the out, white space to single spaces.
"""

import re
import string
from collections.abc import Mapping

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalised(text: str) -> str:
    """What is left of a text when its spelling does not matter."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def grade(sample: Mapping[str, object], item: Mapping[str, object]) -> float:
    """1.0 when answer and reference are the same after normalisation."""
    return float(normalised(str(sample["output_text"])) == normalised(str(item["answer"])))


def explain(sample: Mapping[str, object], item: Mapping[str, object]) -> str:
    """What was compared."""
    said, wanted = normalised(str(sample["output_text"])), normalised(str(item["answer"]))
    return f"normalised: {said!r} {'is' if said == wanted else 'is not'} {wanted!r}"
