"""What people say: the words from which ``make.py`` builds questions, and what they mean in GQL."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True)
class Table:
    """How people speak about one table."""

    plural: str
    singular: str
    sort: str  # the column whose values stand before the noun (late orders), and those values
    place: str  # the column whose values stand after it, and those values
    inside: str  # how that is said
    outside: str
    year: str  # what is said before "in 2023"; "" where rows have no year
    newest: bool  # whether "newest" and "oldest" can only mean the year
    which: str
    flag: str
    numbers: Mapping[str, str]
    sums: str  # the numbers that one would add up
    shown: str
    name: str  # the column that takes names
    part: Mapping[str, str]  # what to look for in a column


TABLES = (
    Table(
        plural="orders",
        singular="order",
        sort="status late paid shipped returned",
        place="region north south east west",
        inside="in the {} region",
        outside="outside the {} region",
        year="placed",
        newest=True,
        which="that",
        flag="express",
        numbers={"amount": "50 100 150 200 250 400 500 750 900", "weight": "2 5 8 10 12 15 20 25 40"},
        sums="amount weight",
        shown="id customer status region amount weight year",
        name="customer",
        part={"customer": "son Mar Ltd", "id": "EU X7"},
    ),
    Table(
        plural="customers",
        singular="customer",
        sort="segment retail wholesale student partner",
        place="city Paris Tokyo Lima Cairo",
        inside="in {}",
        outside="outside {}",
        year="who joined",
        newest=False,
        which="who",
        flag="vip",
        numbers={"age": "18 21 25 30 35 40 50 60 65", "spend": "100 200 300 400 500 600 800 1000 2000"},
        sums="spend",
        shown="name email segment city age spend year",
        name="name",
        part={"email": "mail shop info", "name": "son Mar"},
    ),
    Table(
        plural="products",
        singular="product",
        sort="category audio video garden kitchen",
        place="brand Apex Orion Delta Nova",
        inside="from brand {}",
        outside="not from brand {}",
        year="",
        newest=False,
        which="that",
        flag="fragile",
        numbers={
            "price": "5 10 15 20 25 40 50 80",
            "stock": "10 20 30 50 75 100 200",
            "rating": "2 2.5 3 3.5 4 4.5",
        },
        sums="stock",
        shown="name sku category brand price stock rating",
        name="brand",
        part={"name": "Pro Mini Max", "sku": "EU X7"},
    ),
    Table(
        plural="tickets",
        singular="ticket",
        sort="severity minor major critical urgent",
        place="team billing network returns sales",
        inside="of the {} team",
        outside="outside the {} team",
        year="opened",
        newest=True,
        which="that",
        flag="escalated",
        numbers={"wait": "5 10 15 20 30 45 60 90 120", "effort": "2 3 4 5 6 8 10 12 16"},
        sums="wait effort",
        shown="id owner severity team wait effort year",
        name="owner",
        part={"owner": "son Mar", "id": "EU X7"},
    ),
)
PEOPLE = {
    "space": "Ana Lima,Tom Baker,Mia Chen,Jon Berg,Eva Costa,Sam Young,Rosa Diaz,Max Stone",
    "apostrophe": "O'Brien,O'Hara,O'Neill,D'Angelo,D'Souza,O'Connor,D'Amico,O'Reilly",
}
BRANDS = {"space": "Blue Ridge,Red Fox,Silver Oak,North Star", "apostrophe": "Finn's,Lou's,L'Atelier,Kay's"}

COMPARED = {  # what comes after "an amount", or without "of" after "amount is"
    "over {}": ">",
    "above {}": ">",
    "of more than {}": ">",
    "under {}": "<",
    "below {}": "<",
    "of less than {}": "<",
    "of at least {}": ">=",
    "of {} or more": ">=",
    "of at most {}": "<=",
    "of {} or less": "<=",
    "of exactly {}": "=",
}
DATED = {"in": "=", "before": "<", "after": ">", "since": ">="}
YEARS = "2018 2019 2020 2021 2022 2023 2024 2025"
MEASURED = {
    "average": "avg",
    "mean": "avg",
    "highest": "max",
    "maximum": "max",
    "lowest": "min",
    "minimum": "min",
    "total": "sum",
    "combined": "sum",
}
RANKED = {  # how "down" and "up" are said
    "highest": "down",
    "largest": "down",
    "top": "down",
    "newest": "down",
    "highest to lowest": "down",
    "lowest": "up",
    "smallest": "up",
    "bottom": "up",
    "oldest": "up",
    "lowest to highest": "up",
}

# Where the filters stand: (sort) orders (place) with (with) and (with) where (where) and (where).
SHORT = ("", "sort", "sort", "place", "place", "sort place")
PLAIN = (*SHORT[1:], "with", "with", "sort with", "with with", "place with")
ANY = ("", *PLAIN, *PLAIN[4:], "where", "where", "sort where", "where where")
HAVE = ("with", "with", "with with")


class Template(NamedTuple):
    """One way to ask, and what it asks for; the same slots are filled on both sides."""

    question: str
    result: str
    layouts: Sequence[str] = ANY

    @property
    def slots(self) -> frozenset[str]:
        """The slots of the question."""
        return frozenset(re.findall(r"{(\w+)}", self.question))


TEMPLATES = {
    "list": (
        Template("Show the {columns} of {rows}.", "{columns}"),
        Template("List the {columns} for {rows}.", "{columns}"),
        Template("Give me the {columns} of {rows}.", "{columns}"),
        Template("Find {rows} and show the {columns}.", "{columns}"),
        Template("For {rows}, list the {columns}.", "{columns}"),
        Template("I need the {columns} of {rows}.", "{columns}"),
        Template("Which {noun} have {having}? Show the {columns}.", "{columns}", HAVE),
        Template("Show all {rows}.", "all", PLAIN),
        Template("Show everything about {rows}.", "all"),
        Template("Show the {columns} of any {n} {rows}.", "{columns} take {n}", SHORT[1:]),
    ),
    "sort": (
        Template("Show the {columns} of {rows}, {best} {number} first.", "{columns} {way} {number}"),
        Template("List the {columns} of {rows}, sorted by {number} from {span}.", "{columns} {way} {number}"),
        Template("Show the {columns} of {rows}, {newest} first.", "{columns} {way} year"),
        Template("List the {columns} of the {n} {newest} {rows}.", "{columns} {way} year take {n}", SHORT),
        Template(
            "Give me the {columns} of the {n} {rows} with the {best} {number}.",
            "{columns} {way} {number} take {n}",
            SHORT,
        ),
        Template("Show the {columns} of {rows}, {top} {n} by {number}.", "{columns} {way} {number} take {n}"),
        Template(
            "List the {columns} of {rows}, {best} {number} first, limited to {n}.",
            "{columns} {way} {number} take {n}",
        ),
        Template(
            "Which {n} {rows} have the {best} {number}? Show the {columns}.",
            "{columns} {way} {number} take {n}",
            SHORT,
        ),
    ),
    "count": (
        Template("How many {rows} are there?", "count", ("", *PLAIN)),
        Template("Count the {rows}.", "count"),
        Template("How many {noun} have {having}?", "count", HAVE),
        Template("What is the number of {rows}?", "count"),
        Template("Tell me the number of {rows}.", "count"),
    ),
    "aggregate": (
        Template("What is the {measure} {number} of {rows}?", "{measure} {number}"),
        Template("Give me the {measure} {number} of {rows}.", "{measure} {number}"),
        Template("Show the {measure} {number} for {rows}.", "{measure} {number}"),
        Template("Calculate the {measure} {number} of {rows}.", "{measure} {number}"),
    ),
    "group": (
        Template(
            "What is the {measure} {number} of {rows}, per {group}?", "{measure} {number} per {group}", SHORT
        ),
        Template(
            "For each {group}, show the {measure} {number} of {rows}.", "{measure} {number} per {group}"
        ),
        Template(
            "Show the {measure} {number} of {rows}, grouped by {group}.", "{measure} {number} per {group}"
        ),
        Template("How many {rows} are there per {group}?", "count per {group}", SHORT),
        Template("Count the {rows} for each {group}.", "count per {group}", SHORT),
        Template("For each {group}, how many {rows} are there?", "count per {group}", ("", *PLAIN)),
    ),
    "single": (
        Template(
            "Which {row} has the {best} {number}? Show the {columns}.",
            "{columns} {way} {number} take 1",
            SHORT,
        ),
        Template(
            "Show the {columns} of the single {row} with the {best} {number}.",
            "{columns} {way} {number} take 1",
            SHORT,
        ),
    ),
}
# What a slot may be filled with; columns, rows and numbers come from the tables.
SLOTS: Mapping[str, Sequence[str]] = {
    "best": ("highest", "largest", "lowest", "smallest"),
    "top": ("top", "bottom"),
    "newest": ("newest", "oldest"),
    "span": ("highest to lowest", "lowest to highest"),
    "n": ("2", "3", "4", "5", "8", "10", "15", "20"),
    "measure": tuple(MEASURED),
}
POLITE = ("Please {}.", "Could you {}?", "Can you please {}?", "Hi, please {}. Thank you!")
