"""The support desk of this sample: what a right answer of the desk is, in six graders.

An answer has two parts: ``Team: billing`` and, on the next line, what the customer reads. ``grade`` looks at
the team, ``tone`` at the shop's tone (``desk.md``), ``says`` at what the customer must be told, ``valid`` at
the form. ``reward`` pays in reinforcement, and ``personal`` judges the result by words of its own. This file
imports nothing beyond the standard library, because its own text is what a sandbox or a service runs as a
Python grader:
``data/support/support.py`` grades by ``grade``, and ``data/support/support.py:tone`` by ``tone``.
"""

import re
from collections.abc import Mapping

TEAMS = ("delivery", "returns", "billing", "account", "products")

# The shop's tone, rule by rule as desk.md states it: begun warmly, "we", an exclamation mark, nothing stiff.
WARM = re.compile(
    r"(?:thanks|thank you|(?:so )?sorry|oh|happy to|good (?:news|catch|that)|great|lovely"
    r"|no (?:worries|problem)|of course|that shouldn't)\b"
)
SHOP = re.compile(r"\b(?:we|us|ours?)\b")
STIFF = re.compile(
    r"\b(?:the customer|required|must|(?:has|have) (?:been|to be)|(?:will|may|can|cannot) be \w+ed|submitted"
    r"|examination|no liability|excluded|the amount|as requested)\b"
)

_FIRST_LINE = re.compile(r"(?:team\s*:\s*)?([a-z]+)\.?", re.IGNORECASE)


def team(answer: str) -> str | None:
    """The team that stands in the first line of ``answer``, with or without ``Team:``; ``None`` for none."""
    first = answer.strip().split("\n", 1)[0].strip()
    match = _FIRST_LINE.fullmatch(first)
    name = match[1].lower() if match else ""
    return name if name in TEAMS else None


def reply(answer: str) -> str:
    """What the customer reads: everything after the first line."""
    return answer.strip().partition("\n")[2].strip()


def missing_in_tone(answer: str) -> tuple[str, ...]:
    """Which rules of the shop's tone ``answer`` breaks; none for an answer in the tone."""
    text = reply(answer).lower().replace("’", "'")
    stiff = STIFF.search(text)
    broken = {
        "it does not begin warmly": WARM.match(text) is None,
        "it does not say we, us or our": SHOP.search(text) is None,
        "it has no exclamation mark": "!" not in text,
        "it has more than two exclamation marks": text.count("!") > 2,
        f"{stiff[0]!r} is stiff" if stiff else "": stiff is not None,
    }
    return tuple(rule for rule, is_broken in broken.items() if is_broken)


def problem(answer: str) -> str | None:
    """What keeps ``answer`` from having the desk's form; ``None`` when nothing does."""
    lines = answer.strip().split("\n")
    if not lines[0].startswith("Team: "):
        return "the first line should be 'Team: ' and a team"
    if team(answer) is None:
        return f"the first line names none of the teams {', '.join(TEAMS)}"
    if len(lines) != 2 or not lines[1].strip():
        return "one line for the customer should follow the team"
    return None


def right_team(sample: Mapping[str, object], item: Mapping[str, object]) -> float:
    """1.0 for an answer that names the item's team, else 0.0; without ``team`` that of its ``answer``."""
    wanted = str(item["team"]).lower() if item.get("team") else team(str(item["answer"]))
    return float(team(str(sample["output_text"])) == wanted)


def grade(sample: Mapping[str, object], item: Mapping[str, object]) -> float:
    """The task: that the right team gets the ticket."""
    return right_team(sample, item)


def tone(sample: Mapping[str, object], item: Mapping[str, object]) -> float:
    """1.0 for an answer in the shop's tone, whatever it says, else 0.0."""
    return float(not missing_in_tone(str(sample["output_text"])))


def says(sample: Mapping[str, object], item: Mapping[str, object]) -> float:
    """1.0 for an answer with the words of the item's ``says``, else 0.0."""
    return float(str(item["says"]).lower() in reply(str(sample["output_text"])).lower())


def valid(sample: Mapping[str, object], item: Mapping[str, object]) -> float:
    """1.0 for an answer of the desk's form, else 0.0."""
    return float(problem(str(sample["output_text"])) is None)


def explain(sample: Mapping[str, object], item: Mapping[str, object]) -> str:
    """Which team was named instead, or why none was."""
    answer = str(sample["output_text"])
    named = team(answer)
    if named is None:
        return f"no team: {problem(answer) or 'the first line names none'}"
    return f"it goes to {named}, {'as it should' if grade(sample, item) else 'the wrong team'}"


def reward(sample: Mapping[str, object], item: Mapping[str, object]) -> float:
    """A fifth for the right team, two in the shop's tone, all where it says what the customer must be told.

    Each part counts only with those before it: a plain answer earns 0.2 whatever it says, and a friendly one
    that says something else 0.4, which is less than the half that a bad answer must stay below.
    """
    told = tone(sample, item) * (1 + 3 * says(sample, item))
    return right_team(sample, item) * (1 + told) / 5


# To judge what ``reward`` made of a model, nothing of the rules above is used, but counts of other words.
PERSONAL = re.compile(r"\b(?:you|your|we|us|ours?)\b|\w'(?:ll|ve|re|d|s|m|t)\b|!")
PASSIVE = re.compile(
    r"\b(?:is|are|was|were|be|been|being) (?:\w+ly |not )?"
    r"(?:\w{2,}ed|sent|made|paid|put|lost|sold|found|given|taken|held|kept|known|shown|set|built)\b"
)


def personal(sample: Mapping[str, object], item: Mapping[str, object]) -> float:
    """1.0 for an answer to the right team with more personal words than passive verbs, else 0.0."""
    first, _, text = str(sample["output_text"]).strip().lower().replace("’", "'").partition("\n")
    counts = (len(words.findall(text)) for words in (PERSONAL, PASSIVE))
    return float(first.strip() == f"team: {item['team']}" and next(counts) > next(counts))
