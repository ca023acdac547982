"""How fast and how well personal data and secrets are found, on rows whose truth is known.

    python tests/benchmarks/privacy.py            20,000 chat rows, about ten seconds

The rows are stretches of Python's documentation, as `pydoc` brings it; into every tenth a value is planted,
drawn at random in one of its usual spellings, into another tenth something that only looks like one. Prints
MB of text a CPU second, and recall and precision a kind. These say that the forms which are promised are
found, and ordinary text and their likes are not; what people write in other forms is not measured here.
"""

import random
import string
import time
from collections import Counter
from collections.abc import Callable
from pydoc_data.topics import topics

from workbench.dataset.check.methods import CheckTask
from workbench.dataset.check.privacy import Privacy, sensitive
from workbench.dataset.check.row import Collector, Row
from workbench.dataset.check.rules import Phase

ROWS = 20_000
BATCH = 256
LETTERS = string.ascii_letters + string.digits


def drawn(dice: random.Random, size: int, letters: str = LETTERS) -> str:
    return "".join(dice.choice(letters) for _ in range(size))


def digits(dice: random.Random, size: int) -> str:
    return drawn(dice, size, string.digits)


def card(dice: random.Random) -> str:
    body = "4" + digits(dice, 14)
    total = sum(
        sum(divmod(int(digit) * (2 if place % 2 == 0 else 1), 10)) for place, digit in enumerate(body)
    )
    whole = body + str(-total % 10)
    return dice.choice(["", " ", "-"]).join(whole[start : start + 4] for start in (0, 4, 8, 12))


def iban(dice: random.Random) -> str:
    account = digits(dice, 18)
    check = 98 - int(account + "131400") % 97
    whole = f"DE{check:02}{account}"
    return dice.choice([whole, " ".join(whole[start : start + 4] for start in range(0, 22, 4))])


def mail(dice: random.Random) -> str:
    ending = dice.choice(["contoso.com", "mail.fabrikam.de", "northwind.co.uk"])
    return f"{drawn(dice, 6, string.ascii_lowercase)}.{drawn(dice, 8, string.ascii_letters)}@{ending}"


def phone(dice: random.Random) -> str:
    spellings = ("+49 30 {}", "+44 20 7{}", "+1 212 5{}", "(212) 5{}", "call 0171 {}")
    spelling = dice.choice(spellings)
    size = {"+49 30 {}": 7, "+44 20 7{}": 7, "+1 212 5{}": 6, "(212) 5{}": 6, "call 0171 {}": 7}[spelling]
    number = digits(dice, size)
    return spelling.format(f"{number[:2]}-{number[2:]}" if spelling.startswith("(") else number)


PLANTED: dict[str, Callable[[random.Random], str]] = {
    "email": mail,
    "phone": phone,
    "card": card,
    "iban": iban,
    "ssn": lambda dice: f"{dice.randint(100, 665)}-{dice.randint(10, 99)}-{dice.randint(1000, 9999)}",
    "ip": lambda dice: f"{dice.randint(130, 168)}.{dice.randint(100, 255)}.{dice.randint(1, 255)}.7",
    "name": lambda dice: f"My name is {drawn(dice, 5, string.ascii_lowercase).title()} Miller",
    "aws_key": lambda dice: "AKIA" + drawn(dice, 16, string.ascii_uppercase + string.digits),
    "github_token": lambda dice: "ghp_" + drawn(dice, 36),
    "openai_key": lambda dice: "sk-proj-" + drawn(dice, 40) + "A1",
    "jwt": lambda dice: f"eyJ{drawn(dice, 20)}.eyJ{drawn(dice, 40)}.{drawn(dice, 43)}",
    "password": lambda dice: f"password={drawn(dice, 10)}{dice.randint(0, 9)}x",
    "api_key": lambda dice: f'"api_key": "{drawn(dice, 32, "0123456789abcdef")}"',
}
ALIKE: tuple[Callable[[random.Random], str], ...] = (
    lambda dice: f"order no. {digits(dice, 16)}",
    lambda dice: (
        f"version {dice.randint(1, 20)}.{dice.randint(0, 20)}.{dice.randint(0, 9)}.{dice.randint(0, 9)}"
    ),
    lambda dice: f"2026-{dice.randint(10, 12)}-{dice.randint(10, 28)} 12:30:{dice.randint(10, 59)}",
    lambda dice: f"{drawn(dice, 6)}@example.com",
    lambda dice: f"commit {drawn(dice, 40, '0123456789abcdef')}",
    lambda dice: f"api_key=YOUR_KEY_{digits(dice, 8)}",
    lambda dice: f"ISBN 978-3-16-{digits(dice, 6)}-0",
    lambda dice: f"Order {digits(dice, 8)}-{digits(dice, 2)}",
    lambda dice: f"192.168.{dice.randint(1, 255)}.{dice.randint(1, 255)}",
    lambda dice: f"x = {dice.random()}",
)


def row(number: int, answer: str, prose: list[str], dice: random.Random) -> Row:
    asked = {"role": "user", "content": dice.choice(prose)}
    system = {"role": "system", "content": "Answer in one sentence."}
    return Row(number, {"messages": [system, asked, {"role": "assistant", "content": answer}]})


def speed(collector: Collector, rows: list[Row]) -> float:
    """MB of text a CPU second, in batches as a check shows them."""
    size = sum(len(turn.text) for one in rows for turn in one.turns)
    fresh = [Row(one.number, one.value) for one in rows]
    begin = time.process_time()
    for start in range(0, len(fresh), BATCH):
        collector.add(fresh[start : start + BATCH])
    return size / 1e6 / (time.process_time() - begin)


def main() -> None:
    """Measure, and print a table."""
    dice = random.Random(0)
    words = " ".join(topics.values()).split()
    prose = [" ".join(words[start : start + 80]) for start in range(0, len(words) - 80, 40)]
    clean = [row(number, dice.choice(prose), prose, dice) for number in range(ROWS)]
    mixed, right, wrong, missed = [], Counter[str](), Counter[str](), Counter[str]()
    for number in range(ROWS):
        answer, kind = dice.choice(prose), ""
        if number % 10 == 0:
            kind = dice.choice(list(PLANTED))
            answer += f" {PLANTED[kind](dice)} "
        elif number % 10 == 1:
            answer += f" {dice.choice(ALIKE)(dice)} "
        mixed.append(row(number, answer, prose, dice))
        told = Counter(span.kind for span in sensitive(answer))
        right[kind] += bool(kind) and told[kind] == 1
        missed[kind] += bool(kind) and told[kind] != 1
        wrong.update({other: n for other, n in told.items() if other != kind})
    Privacy().add(clean[:100])  # loads what is loaded once
    fast, slow = speed(Privacy(), clean), speed(Privacy(), mixed)
    print(f"privacy: {fast:.0f} MB/CPU s on clean rows, {slow:.0f} where every fifth has a value or its like")
    print(f"texts:   {speed(Phase('texts', CheckTask('sft')), clean):.0f} MB/CPU s on clean rows")
    for kind in PLANTED:
        print(f"{kind:13} {measures(right[kind], missed[kind], wrong[kind])}")
    print(f"{'all':13} {measures(right.total(), missed.total(), wrong.total())}")


def measures(right: int, missed: int, wrong: int) -> str:
    """Recall and precision of what was planted."""
    return (
        f"planted {right + missed:5}, recall {right / (right + missed):.3f}, "
        f"precision {right / max(1, right + wrong):.3f}"
    )


if __name__ == "__main__":
    main()
