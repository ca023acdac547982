"""Makes the sample data: questions in English, and the GQL queries that answer them.

    python data/gql/make.py           writes pairs.csv, test.csv and collected.csv beside this file
    python data/gql/make.py --check   says whether they are still what this script makes

Words and values are dealt from decks that run out before they are shuffled again, so that each comes about
equally often. No meaning comes twice, and no question does, numbers aside: so the two files share none.
"""

import argparse
import csv
import io
import random
import re
import sys
from collections.abc import Collection, Sequence
from itertools import cycle
from pathlib import Path
from typing import NamedTuple

from defects import spoiled
from gql import Query, parse
from phrases import (
    BRANDS,
    COMPARED,
    DATED,
    MEASURED,
    PEOPLE,
    POLITE,
    RANKED,
    SLOTS,
    TABLES,
    TEMPLATES,
    YEARS,
    Table,
    Template,
)

HERE = Path(__file__).parent
SEED = 2026
ROWS = {  # kind: rows in pairs.csv, in test.csv; from "apostrophe" on they are edge cases
    "list": (110, 31),
    "sort": (84, 24),
    "count": (66, 19),
    "aggregate": (54, 15),
    "group": (44, 13),
    "apostrophe": (9, 3),
    "space": (9, 3),
    "between": (9, 3),
    "contains": (9, 3),
    "single": (9, 2),
    "rough": (9, 2),
    "polite": (9, 2),
}
EDGE_FILTERS = ("apostrophe", "space", "between", "contains")


class Decks:
    """Named decks of cards; each is dealt to the end before it is shuffled again."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self._left: dict[str, list[str]] = {}

    def deal(self, name: str, cards: Collection[str], but: Collection[str] = ()) -> str:
        """The next card of the deck that is not one of ``but``; ``LookupError`` when there is none."""
        deck = self._left.setdefault(name, [])
        if not set(cards) - set(but):
            raise LookupError(f"every card of the deck {name!r} is taken")
        if not set(deck) - set(but):
            deck += self.random.sample(tuple(cards), len(cards))
        card = next(card for card in deck if card not in but)
        deck.remove(card)
        return card


class Filter(NamedTuple):
    """One condition: as the question says it, and as the query does."""

    words: str
    query: str
    column: str


class Row(NamedTuple):
    """One line of the files."""

    question: str
    query: str
    kind: str
    entity: str
    template: str


def condition(column: str, said: str, place: str) -> str:
    """``an amount over 5``, or after "where" ``amount is over 5``."""
    if place == "where":
        return f"{column} {said if said.startswith('contains') else 'is ' + said.removeprefix('of ')}"
    return f"{'an' if column[0] in 'aeiou' else 'a'} {column} {said}"


def equality(column: str, value: str, place: str) -> Filter:
    """``the status late``, or after "where" ``status is late``."""
    said = f"{column} is {value}" if place == "where" else f"the {column} {value}"
    return Filter(said, f"{column} = {value}", column)


def sort_filter(decks: Decks, table: Table, taken: Collection[str]) -> Filter:
    """One word before the noun: ``late``."""
    column, *values = table.sort.split()
    unfit = [*taken, *(values if column in taken else ())]
    word = decks.deal(f"{table.plural} sort", (*values, table.flag), unfit)
    if word == table.flag:
        return Filter(word, f"{word} = yes", word)
    return Filter(word, f"{column} = {word}", column)


def place_filter(decks: Decks, table: Table, taken: Collection[str]) -> Filter:
    """A few words after the noun that name no column: ``in the north region``, ``placed since 2023``."""
    column, *values = table.place.split()
    cards = ["inside"] * 3 + ["outside"] + ["flag"] * 2 + ["year"] * 4 * bool(table.year)
    unfit = {"year"} & set(taken) | ({"flag"} if table.flag in taken else set())
    unfit |= {"inside", "outside"} if column in taken else set()
    card = decks.deal(f"{table.plural} place", cards, unfit)
    if card == "year":
        said, year = decks.deal("dated", DATED), decks.deal("year", YEARS.split())
        return Filter(f"{table.year} {said} {year}", f"year {DATED[said]} {year}", "year")
    if card == "flag":
        said = decks.deal(f"{table.plural} flag", ("are not", "are not", "are"))
        answer = "yes" if said == "are" else "no"
        return Filter(f"{table.which} {said} {table.flag}", f"{table.flag} = {answer}", table.flag)
    words, operator = (table.inside, "=") if card == "inside" else (table.outside, "!=")
    value = decks.deal(column, values)
    return Filter(words.format(value), f"{column} {operator} {value}", column)


def column_filter(decks: Decks, table: Table, place: str, taken: Collection[str]) -> Filter:
    """A condition that names its column: ``an amount over 500``, ``status is late``."""
    texts = {column: values for column, *values in (table.sort.split(), table.place.split())}
    column = decks.deal(f"{table.plural} {place}", (*table.numbers, *table.numbers, *texts), taken)
    if column in texts:
        value = decks.deal(column, texts[column])
        if not decks.deal(f"{place} not", ("", "", "not")):
            return equality(column, value, place)
        said = f"not {value}" if place == "where" else f"other than {value}"
        return Filter(condition(column, said, place), f"{column} != {value}", column)
    said = decks.deal(f"compared {place}", COMPARED)
    number = decks.deal(column, table.numbers[column].split())
    words = condition(column, said.format(number), place)
    return Filter(words, f"{column} {COMPARED[said]} {number}", column)


def edge_filter(decks: Decks, table: Table, place: str, taken: Collection[str], kind: str) -> Filter:
    """The condition that makes a question an edge case of this kind."""
    if kind == "between":
        column = decks.deal(f"{table.plural} between", table.numbers, taken)
        low, high = sorted(decks.random.sample(table.numbers[column].split(), 2), key=float)
        words = condition(column, f"between {low} and {high}", place)
        return Filter(words, f"{column} >= {low} ~ {column} <= {high}", column)
    if kind == "contains":
        column = decks.deal(f"{table.plural} part", table.part)
        part = decks.deal(f"{table.plural} {column}", table.part[column].split())
        words = condition(column, f"{'contains' if place == 'where' else 'containing'} {part}", place)
        return Filter(words, f"{column} has {part}", column)
    names = (BRANDS if table.name == "brand" else PEOPLE)[kind].split(",")
    return equality(table.name, decks.deal(names[0], names), place)


def fitting(template: Template, table: Table, kind: str) -> list[str]:
    """The layouts in which this template makes a question of this kind about this table."""
    if "newest" in template.slots and not table.newest:
        return []
    if kind == "polite" and template.question.split()[0] in ("Which", "How", "What", "For", "I"):
        return []
    layouts = list(template.layouts)
    if kind in EDGE_FILTERS:
        layouts = [layout for layout in layouts if "with" in layout or "where" in layout]
    if kind == "contains":  # "containing Pro and the brand Nova" could be one long text
        layouts = [layout for layout in layouts if layout != "with with"]
    return layouts


def spoken(noun: str, layout: Sequence[str], filters: Sequence[Filter]) -> dict[str, str]:
    """How the question names its rows: all of it, and in the two pieces that some templates need."""
    said = {place: [f.words for p, f in zip(layout, filters, strict=True) if p == place] for place in layout}
    before = " ".join([*said.get("sort", []), noun])
    after = "".join(f" {words}" for words in said.get("place", []))
    having = " and ".join(said.get("with", []))
    if having:
        after += f" and have {having}" if " are " in after else f" with {having}"
    if "where" in said:
        after += f" where {' and '.join(said['where'])}"
    return {"noun": before, "having": having, "rows": before + after}


def choose(decks: Decks, kind: str, table: Table) -> tuple[str, Template, list[str]]:
    """A template for a question of this kind, its name, and where the filters will stand."""
    base = kind if kind in TEMPLATES else decks.deal(f"{kind} base", ("list", "count", "aggregate"))
    templates = {f"{base}-{n}": template for n, template in enumerate(TEMPLATES[base], 1)}
    unfit = [name for name, template in templates.items() if not fitting(template, table, kind)]
    name = decks.deal(f"{base} template", templates, unfit)
    layouts = fitting(templates[name], table, kind)
    return name, templates[name], decks.deal(f"{name} {len(layouts)} layouts", layouts).split()


def fill(decks: Decks, template: Template, table: Table) -> dict[str, str]:
    """The words for the slots that the table and the decks decide."""
    slots = {slot: decks.deal(slot, cards) for slot, cards in SLOTS.items() if slot in template.slots}
    if "number" in template.slots:
        adds_up = MEASURED.get(slots.get("measure", "")) == "sum"
        numbers = table.sums.split() if adds_up else table.numbers
        slots["number"] = decks.deal(f"{table.plural} numbers {adds_up}", numbers)
    if "group" in template.slots:
        groups = [table.sort.split()[0], table.place.split()[0], *["year"] * bool(table.year)]
        slots["group"] = decks.deal(f"{table.plural} groups", groups)
    return slots


def make_filters(
    decks: Decks, table: Table, kind: str, layout: Sequence[str], taken: Collection[str]
) -> list[Filter]:
    """One filter for each place of the layout, no two on one column, one of them the edge case."""
    filters: list[Filter] = []
    for place in layout:
        used = [*taken, *(earlier.column for earlier in filters)]
        if place == "sort":
            filters.append(sort_filter(decks, table, used))
        elif place == "place":
            filters.append(place_filter(decks, table, used))
        elif kind in EDGE_FILTERS and place not in layout[: len(filters)]:
            filters.append(edge_filter(decks, table, place, used, kind))
        else:
            filters.append(column_filter(decks, table, place, used))
    if layout[-2:] == ["with", "with"] and "other than" in filters[-2].words:
        filters[-2:] = filters[:-3:-1]  # "other than partner and the city Paris" would leave out too much
    return filters


def make_row(decks: Decks, kind: str, table: Table) -> Row:
    """One question of this kind about this table, and its query."""
    name, template, layout = choose(decks, kind, table)
    slots = fill(decks, template, table)
    taken = [slots[slot] for slot in ("number", "group") if slot in slots]
    filters = make_filters(decks, table, kind, layout, [*taken, *["year"] * ("newest" in slots)])

    width = int(decks.deal("width", "112223"))
    columns = list(table.shown.split())
    used = [f.column for f in filters]
    shown = list(dict.fromkeys(decks.deal(f"{table.plural} shown", columns, used) for _ in range(width)))
    rows = spoken(table.plural, layout, filters)
    if name.startswith("list") and not layout:
        rows["rows"] = f"all {rows['rows']}"
    row = spoken(table.singular, layout, filters)["rows"].replace(" are ", " is ")
    listed = " and ".join(filter(None, [", ".join(shown[:-1]), shown[-1]]))
    question = template.question.format(**slots, **rows, row=row, columns=listed)

    meant = {
        "way": next((RANKED[words] for words in slots.values() if words in RANKED), ""),
        "measure": MEASURED.get(slots.get("measure", ""), ""),
        "columns": ", ".join(shown),
    }
    result = template.result.format(**slots | meant)
    query = "".join([table.plural, *(f" ~ {f.query}" for f in filters), f" -> {result}"])

    if kind == "rough":
        question = question[0].lower() + question[1:].rstrip(".?")
    if kind == "polite":
        frame = decks.deal("polite", POLITE)
        name += f"+polite-{POLITE.index(frame) + 1}"
        question = frame.format(question[0].lower() + question[1:].rstrip("."))
    return Row(question, query, kind, table.plural, name)


def make_rows() -> tuple[list[Row], list[Row]]:
    """The rows of pairs.csv and of test.csv."""
    decks = Decks(SEED)
    pairs: list[Row] = []
    test: list[Row] = []
    questions: set[str] = set()
    meanings: set[Query] = set()
    for kind, (for_pairs, for_test) in ROWS.items():
        rows: list[Row] = []
        tables = cycle(TABLES)
        while len(rows) < for_pairs + for_test:
            try:
                row = make_row(decks, kind, next(tables))
            except LookupError:
                continue
            question, meaning = re.sub(r"[0-9.]+", "5", row.question.lower()), parse(row.query)
            if question not in questions and meaning not in meanings:
                questions.add(question)
                meanings.add(meaning)
                rows.append(row)
        decks.random.shuffle(rows)
        test += rows[:for_test]
        pairs += rows[for_test:]
    decks.random.shuffle(pairs)
    decks.random.shuffle(test)
    return pairs, test


def as_csv(rows: Sequence[Row]) -> bytes:
    """The rows as the file holds them."""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows([Row._fields, *rows])
    return text.getvalue().encode()


def as_spreadsheet_csv(rows: Sequence[Sequence[str]]) -> bytes:
    """The rows as a spreadsheet saves them where the comma is the decimal sign."""
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=";", lineterminator="\r\n").writerows([Row._fields, *rows])
    return text.getvalue().encode("utf-8-sig")


def main() -> int:
    """Write the files, or say which of them differ."""
    parser = argparse.ArgumentParser(description="Makes pairs.csv, test.csv and collected.csv.")
    parser.add_argument("--check", action="store_true", help="only say whether the files are as made")
    check = parser.parse_args().check
    stale = 0
    pairs, test = make_rows()
    collected = [cells for cells, _ in spoiled(pairs, test)]
    files = {"pairs.csv": as_csv(pairs), "test.csv": as_csv(test)}
    for name, content in (files | {"collected.csv": as_spreadsheet_csv(collected)}).items():
        if not check:
            (HERE / name).write_bytes(content)
        elif not (HERE / name).exists() or (HERE / name).read_bytes() != content:
            print(f"{name} is not what make.py makes; run 'python data/gql/make.py'.")
            stale = 1
    return stale


if __name__ == "__main__":
    sys.exit(main())
