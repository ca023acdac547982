"""GQL, the query language of this sample: what a query means, or why it is none; and the sample's grader.

The language is invented, so no model has seen it; ``reference.md`` is its one page. This file imports
nothing beyond the standard library, because its own text is what a sandbox or a service runs as a Python
grader: ``data/gql/gql.py`` grades by ``grade``, ``data/gql/gql.py:valid`` by ``valid``.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache

TABLES: Mapping[str, Mapping[str, str]] = {
    "orders": {
        "id": "text",
        "customer": "text",
        "status": "text",
        "region": "text",
        "amount": "number",
        "weight": "number",
        "year": "number",
        "express": "flag",
    },
    "customers": {
        "name": "text",
        "email": "text",
        "segment": "text",
        "city": "text",
        "age": "number",
        "spend": "number",
        "year": "number",
        "vip": "flag",
    },
    "products": {
        "name": "text",
        "sku": "text",
        "category": "text",
        "brand": "text",
        "price": "number",
        "stock": "number",
        "rating": "number",
        "fragile": "flag",
    },
    "tickets": {
        "id": "text",
        "owner": "text",
        "severity": "text",
        "team": "text",
        "wait": "number",
        "effort": "number",
        "year": "number",
        "escalated": "flag",
    },
}

OPERATORS: Mapping[str, tuple[str, ...]] = {
    "text": ("=", "!=", "has"),
    "number": ("=", "!=", ">", "<", ">=", "<="),
    "flag": ("=", "!="),
}

MEASURES = ("sum", "avg", "min", "max")


class GqlError(ValueError):
    """The text is not a GQL query; ``position`` counts its characters from 1."""

    def __init__(self, finding: str, position: int) -> None:
        """Say what was found, and where."""
        super().__init__(f"at character {position}: {finding}")
        self.position = position


@dataclass(frozen=True)
class Filter:
    """One condition that the rows must meet; a flag's value is ``yes`` or ``no``, a number's is exact."""

    column: str
    operator: str
    value: str | Decimal


@dataclass(frozen=True)
class Query:
    """What a query asks for: two queries are equal when they mean the same.

    Filters are a set: their order and repetition mean nothing. The order of ``columns`` does mean something,
    because the answer's columns come in that order; ``all`` stands for every column in the table's order.
    Exactly one of ``columns`` and ``measure`` is filled.
    """

    table: str
    filters: frozenset[Filter]
    columns: tuple[str, ...] = ()
    measure: tuple[str, ...] = ()  # ("count",) or ("avg", "amount")
    per: str | None = None
    order: tuple[str, str] | None = None  # ("down", "amount")
    take: int | None = None


@lru_cache(maxsize=16)  # a grade and its reason look at the same two
def parse(text: str) -> Query:
    """Read one query; ``GqlError`` names the first place where it stops being GQL.

    Keywords, tables and columns may be written in any case, with any white space; texts are compared as
    they are written.
    """
    return _Sentence(text).query()


def problem(answer: str) -> str | None:
    """What keeps ``answer`` from being a valid query; ``None`` when nothing does."""
    try:
        parse(answer)
    except GqlError as error:
        return str(error)
    return None


def same_meaning(answer: str, reference: str) -> bool:
    """Whether ``answer`` asks for the same as ``reference``, however it is written.

    A broken answer is simply not the same. A broken reference raises ``GqlError``, because it would fail
    every answer.
    """
    wanted = parse(reference)
    try:
        return parse(answer) == wanted
    except GqlError:
        return False


def grade(sample: Mapping[str, object], item: Mapping[str, object]) -> float:
    """1.0 for an answer that means what the item's ``answer`` means, else 0.0."""
    return float(same_meaning(str(sample["output_text"]), str(item["answer"])))


def valid(sample: Mapping[str, object], item: Mapping[str, object]) -> float:
    """1.0 for an answer that is a query at all, else 0.0."""
    return float(problem(str(sample["output_text"])) is None)


def explain(sample: Mapping[str, object], item: Mapping[str, object]) -> str:
    """Whether the answer asks for something else, or is no query at all."""
    answer = str(sample["output_text"])
    wrong = problem(answer)
    if wrong is not None:
        return f"not a query: {wrong}"
    return (
        "it means the same"
        if same_meaning(answer, str(item["answer"]))
        else "a query that means something else"
    )


# One token each. No two patterns can start at the same place and no repeat is nested in another, so reading
# stays linear in the length of the text; an unclosed quote is a stray character.
_TOKEN = re.compile(
    r"""\s*(?:
        (?P<mark> -> | >= | <= | != | [=<>~,] )
      | "(?P<quoted> (?: [^"] | "" )* )"
      | (?P<word> (?: [^\s"~,<>=!-] | -(?!>) )+ )
      | (?P<end> \Z )
      | (?P<stray> . )
    )""",
    re.VERBOSE | re.DOTALL,
)
_NUMBER = re.compile(r"-?[0-9]+(?:\.[0-9]+)?")
_COUNT = re.compile(r"[1-9][0-9]{0,8}")


class _Sentence:
    """The tokens of one text, and the place up to which they are understood."""

    def __init__(self, text: str) -> None:
        self._tokens: list[tuple[str, str, int]] = []  # kind, value, position
        self._next = 0
        for match in _TOKEN.finditer(text):
            kind = match.lastgroup or "end"
            self._tokens.append((kind, match[kind], match.start(kind) + 1))
            if kind == "stray":
                raise GqlError(f"{_short(match[kind])} has no place in a query", match.start(kind) + 1)
            if kind == "end":
                break

    def query(self) -> Query:
        table = self._name("a table", tuple(TABLES))
        filters = set()
        while self._take("~"):
            filters.add(self._filter(table))
        if not self._take("->"):
            raise self._error(f"expected '~' and a filter, or '->' and what to return, found {self._found}")
        query = self._result(table, frozenset(filters))
        if self._kind != "end":
            raise self._error(f"the query should end before {self._found}")
        return query

    def _filter(self, table: str) -> Filter:
        column = self._name(f"a column of {table}", tuple(TABLES[table]))
        kind = TABLES[table][column]
        allowed = OPERATORS[kind]
        operator = self._value.lower()
        if self._kind not in ("mark", "word") or operator not in allowed:
            raise self._error(f"{column} is a {kind} and takes one of {' '.join(allowed)}")
        self._next += 1
        if kind == "number":
            number = self._pattern(_NUMBER, f"{column} is compared with a number, such as 5 or 4.5")
            return Filter(column, operator, Decimal(number))
        if kind == "flag":
            answer = self._name("the flag's value", ("yes", "no"))
            if operator == "!=":
                answer = "no" if answer == "yes" else "yes"
            return Filter(column, "=", answer)
        return Filter(column, operator, self._text())

    def _result(self, table: str, filters: frozenset[Filter]) -> Query:
        columns = tuple(TABLES[table])
        first = self._name("what to return", (*columns, "all", "count", *MEASURES))
        if first == "count":
            return Query(table, filters, measure=(first,), per=self._per(columns))
        if first in MEASURES:
            numbers = tuple(column for column in columns if TABLES[table][column] == "number")
            measure = (first, self._name("a number column", numbers))
            return Query(table, filters, measure=measure, per=self._per(columns))
        chosen = columns if first == "all" else self._columns(first, columns)
        order = None
        for direction in ("down", "up"):
            if order is None and self._take(direction):
                order = (direction, self._name("a column to sort by", columns))
        take = None
        if self._take("take"):
            take = int(self._pattern(_COUNT, "after 'take' comes a whole number from 1"))
        return Query(table, filters, columns=chosen, order=order, take=take)

    def _columns(self, first: str, columns: tuple[str, ...]) -> tuple[str, ...]:
        chosen = [first]
        while self._take(","):
            column = self._name("one more column", columns)
            if column in chosen:
                raise GqlError(f"{column} is returned twice", self._tokens[self._next - 1][2])
            chosen.append(column)
        return tuple(chosen)

    def _per(self, columns: tuple[str, ...]) -> str | None:
        return self._name("a column to group by", columns) if self._take("per") else None

    def _text(self) -> str:
        if self._kind == "quoted":
            self._next += 1
            return self._tokens[self._next - 1][1].replace('""', '"')
        words = []
        while self._kind == "word":
            words.append(self._value)
            self._next += 1
        if not words:
            raise self._error("a text is missing here")
        if self._kind == "quoted" or (self._kind == "mark" and self._value not in ("~", "->")):
            raise self._error(f"a text that holds {self._found} is written in double quotes")
        return " ".join(words)

    def _name(self, wanted: str, names: tuple[str, ...]) -> str:
        name = self._value.lower()
        if self._kind != "word" or name not in names:
            raise self._error(f"expected {wanted} ({', '.join(names)}), found {self._found}")
        self._next += 1
        return name

    def _pattern(self, pattern: re.Pattern[str], rule: str) -> str:
        if self._kind != "word" or not pattern.fullmatch(self._value):
            raise self._error(f"{rule}; found {self._found}")
        self._next += 1
        return self._tokens[self._next - 1][1]

    def _take(self, word: str) -> bool:
        found = self._kind in ("mark", "word") and self._value.lower() == word
        self._next += found
        return found

    @property
    def _kind(self) -> str:
        return self._tokens[self._next][0]

    @property
    def _value(self) -> str:
        return self._tokens[self._next][1]

    @property
    def _found(self) -> str:
        return "the end" if self._kind == "end" else _short(self._value)

    def _error(self, finding: str) -> GqlError:
        return GqlError(finding, self._tokens[self._next][2])


def _short(text: str) -> str:
    """What was found, quoted, and cut where it would fill the screen."""
    return repr(text if len(text) <= 40 else text[:40] + "…")
