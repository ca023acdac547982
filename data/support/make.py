"""Makes the files of the support desk, tickets.csv and test.csv, from the texts in texts.toml.

    python data/support/make.py            writes both
    python data/support/make.py --check    says whether they are still what it makes

Every training text becomes three tickets, the three that have the fewest words in common of many that were
drawn; a text of the test stands there once, as it was written. The historical ``answer`` is in the shop's
tone more often where the customer was polite: the agents answered in kind.
"""

import argparse
import csv
import io
import random
import re
import sys
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
SEED = 2026
FILLS, DRAWN = 3, 24  # tickets of each training text, and those that are drawn to choose from
ORDERS = {"train": (30_000, 60_000), "test": (70_000, 90_000)}  # no order of the test is in the training
WARM_SHARE = {"polite": 0.6}  # of the historical answers, by the customer's mood
WARM_OTHERWISE = 0.12
_CHOICE = re.compile(r"\[([^\[\]]*)\]")


class Row(NamedTuple):
    """One ticket: what the customer wrote, what the desk answered, and what graders go by."""

    question: str
    answer: str
    """As it was answered then, in one tone or the other."""
    friendly: str
    plain: str
    team: str
    says: str
    """Words that a right answer has."""
    intent: str
    mood: str
    tone: str
    """That of ``answer``."""
    template: str


class Writer:
    """Draws everything that is left to chance, always in the same order."""

    def __init__(self, seed: int, fill: Mapping[str, Sequence[str]]) -> None:
        self.random = random.Random(seed)
        self._fill = fill

    def ticket(self, text: str, orders: tuple[int, int], products: Sequence[str] | None) -> str:
        """One ticket of this text: an alternative for each bracket, a value for each slot."""
        chosen = _CHOICE.sub(lambda match: self.random.choice(match[1].split("|")), text)
        fill = {**self._fill, "product": products or self._fill["product"]}
        values = {name: self.random.choice(values) for name, values in fill.items()}
        return chosen.format(order=f"TT-{self.random.randrange(*orders)}", **values)

    def unlike(
        self, text: str, count: int, orders: tuple[int, int], products: Sequence[str] | None
    ) -> list[str]:
        """So many tickets of this text, each as unlike the ones before as any that was drawn."""
        drawn = [self.ticket(text, orders, products) for _ in range(DRAWN)]
        chosen = [drawn.pop(0)]
        while len(chosen) < count:
            best = min(drawn, key=lambda ticket: max(in_common(ticket, other) for other in chosen))
            drawn.remove(best)
            chosen.append(best)
        return chosen


def in_common(ticket: str, other: str) -> float:
    """The share of three-word pieces that two tickets have in common, from 0 to 1."""
    first, second = pieces(ticket), pieces(other)
    return len(first & second) / max(1, len(first | second))


def pieces(ticket: str) -> set[tuple[str, ...]]:
    """The three-word pieces of a ticket, without case and punctuation."""
    words = re.findall(r"\w+", ticket.lower())
    return set(zip(words, words[1:], words[2:], strict=False)) or {tuple(words)}


def make_rows() -> tuple[list[Row], list[Row]]:
    """The rows of tickets.csv and of test.csv."""
    texts = tomllib.loads((HERE / "texts.toml").read_text(encoding="utf-8"))
    writer = Writer(SEED, texts.pop("fill"))
    made: dict[str, list[Row]] = {"train": [], "test": []}
    for intent, concern in texts.items():
        for part, rows in made.items():
            for mood, text in concern[part].items():
                count = FILLS if part == "train" else 1
                name = f"{intent}-{mood}" if part == "train" else f"{intent}-{mood}-held-out"
                tickets = writer.unlike(text, count, ORDERS[part], concern.get("product"))
                replies = [writer.random.sample(concern[tone], count) for tone in ("friendly", "plain")]
                for question, friendly, plain in zip(tickets, *replies, strict=True):
                    team = f"Team: {concern['team']}\n"
                    warm = writer.random.random() < WARM_SHARE.get(mood, WARM_OTHERWISE)
                    tone = "friendly" if warm else "plain"
                    answers = {"friendly": team + friendly, "plain": team + plain}
                    named = (concern["team"], concern["says"], intent, mood, tone, name)
                    rows.append(Row(question, answers[tone], *answers.values(), *named))
    for rows in made.values():
        writer.random.shuffle(rows)
    return made["train"], made["test"]


def as_csv(rows: Sequence[Row]) -> bytes:
    """The rows as the file holds them."""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows([Row._fields, *rows])
    return text.getvalue().encode()


def main() -> int:
    """Write the files, or say which of them differ."""
    parser = argparse.ArgumentParser(description="Makes tickets.csv and test.csv.")
    parser.add_argument("--check", action="store_true", help="only say whether the files are as made")
    check = parser.parse_args().check
    stale = 0
    for name, rows in zip(("tickets.csv", "test.csv"), make_rows(), strict=True):
        content = as_csv(rows)
        if not check:
            (HERE / name).write_bytes(content)
        elif not (HERE / name).exists() or (HERE / name).read_bytes() != content:
            print(f"{name} is not what make.py makes; run 'python data/support/make.py'.")
            stale = 1
    return stale


if __name__ == "__main__":
    sys.exit(main())
