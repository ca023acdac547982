"""Whether the regular expression ``PATTERN`` is found in the answer: 1.0 or 0.0."""

import re
from collections.abc import Mapping

PATTERN = ""


def grade(sample: Mapping[str, object], item: Mapping[str, object]) -> float:
    """1.0 when it is found; begin with ``^`` and end with ``$`` for the whole answer."""
    return float(re.search(PATTERN, str(sample["output_text"])) is not None)


def explain(sample: Mapping[str, object], item: Mapping[str, object]) -> str:
    """What was found."""
    found = re.search(PATTERN, str(sample["output_text"]))
    return f"{found[0][:80]!r} fits {PATTERN!r}" if found else f"nothing fits {PATTERN!r}"
