"""Does an answer do what a probe asked? Each probe says by a small JSON object what is checked.

The text of this module is the source of a grader, so a service can run it too: it needs nothing but
Python. All the checks that a probe names must hold; an answer is right or wrong, nothing between.
"""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any


def grade(sample: Mapping[str, str], item: Mapping[str, str]) -> float:
    """1.0 when the answer passes every check in ``item.answer``, a JSON object, else 0.0."""
    answer = sample["output_text"].strip()
    checks = json.loads(item["answer"])
    unknown = sorted(set(checks) - set(CHECKS) - {"refusal"})
    if unknown:
        raise ValueError(f"no check is called {unknown[0]}; there are {', '.join(CHECKS)}")
    if "refuses" in checks:
        refused = re.match(checks["refusal"], answer[:200].lstrip(" \n\"'*").lower()) is not None
        if refused != checks["refuses"]:
            return 0.0
    return float(all(CHECKS[name](answer, wanted) for name, wanted in checks.items() if name in CHECKS))


def _has(answer: str, word: str) -> bool:
    """Whether a word begins somewhere in the answer, upper and lower case alike."""
    return re.search(rf"(?<!\w){re.escape(word.lower())}", answer.lower()) is not None


def _plain(text: str) -> str:
    return re.sub(r"[\s\"'*.,!:;]+", " ", text).strip().lower()


def _lines(answer: str) -> list[str]:
    return [line.strip() for line in answer.splitlines() if line.strip()]


def _parsed(answer: str) -> object:
    """The JSON that an answer is, with or without a fence of code around it; ``None`` when it is none."""
    fenced = re.fullmatch(r"```(?:json)?\s*(.*?)\s*```", answer, re.DOTALL)
    try:
        return json.loads(fenced[1] if fenced else answer)
    except (ValueError, RecursionError):
        return None


def _number(answer: str) -> float | None:
    """The one number that an answer gives, in digits or as a word up to twenty; ``None`` for several."""
    words = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    words += "sixteen seventeen eighteen nineteen twenty"
    spoken = {word: number for number, word in enumerate(words.split())}
    bare = re.sub(r"(?<=\d),(?=\d{3})", "", answer.lower())
    # What comes behind an equals sign is the result; what comes before it is the question again.
    behind = bare.rpartition("=")[2]
    found = {float(text) for text in re.findall(r"(?<![\w.])-?\d+(?:\.\d+)?(?!\w)", behind)}
    words_said = set(re.findall(r"[a-z]+", behind)) - {"one"}  # "one" is rarely meant as a number
    found |= {float(spoken[word]) for word in words_said if word in spoken}
    return found.pop() if len(found) == 1 else None


CHECKS: dict[str, Callable[[str, Any], bool]] = {
    "contains": lambda answer, words: any(_has(answer, word) for word in words),
    "contains_all": lambda answer, texts: all(text.lower() in answer.lower() for text in texts),
    "each_line": lambda answer, start: all(line.startswith(start.strip()) for line in _lines(answer)),
    "each_line_matches": lambda answer, pattern: all(re.match(pattern, line) for line in _lines(answer)),
    "ends_with": lambda answer, text: answer.endswith(text),
    "equals": lambda answer, words: _plain(answer) in words,
    "excludes": lambda answer, words: not any(_has(answer, word) for word in words),
    "json_array": lambda answer, size: isinstance(found := _parsed(answer), list) and len(found) == size,
    "json_keys": lambda answer, keys: isinstance(found := _parsed(answer), dict) and set(found) == set(keys),
    "lines": lambda answer, number: len(_lines(answer)) == number,
    "lower": lambda answer, _: answer == answer.lower(),
    "matches": lambda answer, pattern: re.fullmatch(pattern, answer, re.DOTALL) is not None,
    "number": lambda answer, number: _number(answer) == number,
    "refuses": lambda answer, _: bool(answer),
    "starts_with": lambda answer, text: answer.startswith(text),
    "upper": lambda answer, _: answer == answer.upper(),
    "words_at_least": lambda answer, number: len(answer.split()) >= number,
    "words_at_most": lambda answer, number: 0 < len(answer.split()) <= number,
}
