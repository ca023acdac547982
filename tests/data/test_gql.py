import csv
import random
import re
import subprocess
import sys
import time
from collections import Counter
from decimal import Decimal
from pathlib import Path

import gql
import pytest
from gql import Filter, GqlError, Query, grade, parse, problem, same_meaning

from workbench.settings import ROOT

DATA = ROOT / "data" / "gql"
EDGES = ("apostrophe", "space", "between", "contains", "single", "rough", "polite")


def rows(name: str) -> list[dict[str, str]]:
    with (DATA / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


# What a query means


def test_a_list_has_columns_an_order_and_a_limit():
    assert parse("orders ~ status = late ~ amount > 500 -> id, amount down amount take 10") == Query(
        table="orders",
        filters=frozenset({Filter("status", "=", "late"), Filter("amount", ">", Decimal(500))}),
        columns=("id", "amount"),
        order=("down", "amount"),
        take=10,
    )


def test_a_measure_may_be_taken_per_column():
    assert parse("tickets ~ wait >= 30 -> avg effort per team") == Query(
        table="tickets",
        filters=frozenset({Filter("wait", ">=", Decimal(30))}),
        measure=("avg", "effort"),
        per="team",
    )


def test_count_needs_no_column():
    assert parse("customers -> count") == Query("customers", frozenset(), measure=("count",))


def test_all_means_every_column_in_the_order_of_the_table():
    assert same_meaning(
        "products -> all", "products -> name, sku, category, brand, price, stock, rating, fragile"
    )


@pytest.mark.parametrize(
    "written",
    [
        "orders ~ amount > 500 ~ status = late -> id",
        "ORDERS ~ Status = late ~ AMOUNT > 500 -> ID",
        "  orders~status=late~amount>500->id \n",
        "orders ~ status = late ~ amount > 500.0 -> id",
        "orders ~ status = late ~ amount > 0500 -> id",
        'orders ~ status = "late" ~ amount > 500 -> id',
        "orders ~ status = late ~ status = late ~ amount > 500 ~ amount > 500.00 -> id",
    ],
)
def test_the_same_meaning_may_be_written_in_other_ways(written):
    assert same_meaning(written, "orders ~ status = late ~ amount > 500 -> id")


@pytest.mark.parametrize(
    "other",
    [
        "orders ~ status = late ~ amount >= 500 -> id",
        "orders ~ status = Late ~ amount > 500 -> id",
        "orders ~ status != late ~ amount > 500 -> id",
        "orders ~ status = late ~ amount > 500.1 -> id",
        "orders ~ status = late -> id",
        "orders ~ status = late ~ amount > 500 -> id take 1",
        "orders ~ status = late ~ amount > 500 -> id down amount",
        "orders ~ status = late ~ amount > 500 -> count",
        "orders ~ status = late ~ amount > 500 -> id, amount",
        "not a query",
        "",
    ],
)
def test_another_meaning_is_another_meaning(other):
    assert not same_meaning(other, "orders ~ status = late ~ amount > 500 -> id")


def test_the_order_of_the_returned_columns_counts():
    assert not same_meaning("orders -> amount, id", "orders -> id, amount")


def test_not_yes_is_no():
    assert same_meaning("orders ~ express != yes -> id", "orders ~ express = no -> id")


def test_numbers_are_compared_exactly():
    assert not same_meaning(
        "orders ~ amount = 10000000000000001 -> id", "orders ~ amount = 10000000000000000 -> id"
    )


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("O'Brien", "O'Brien"),
        ("New   York", "New York"),
        ('"New   York"', "New   York"),
        ('"say ""hi"" ~ -> , <"', 'say "hi" ~ -> , <'),
        ("São Paulo", "São Paulo"),
        ("take 5", "take 5"),
        ("Jean-Luc & Co. / 7", "Jean-Luc & Co. / 7"),
        ('""', ""),
    ],
)
def test_text_needs_quotes_only_for_the_marks_of_the_language(written, text):
    assert parse(f"orders ~ customer = {written} -> id").filters == {Filter("customer", "=", text)}


# What is wrong with a text that is no query


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        ("", "at character 1: expected a table (orders, customers, products, tickets), found the end"),
        (
            "SELECT id FROM orders",
            "at character 1: expected a table (orders, customers, products, tickets), found 'SELECT'",
        ),
        ("orders", "at character 7: expected '~' and a filter, or '->' and what to return, found the end"),
        (
            "tickets ~ price > 5 -> id",
            "at character 11: expected a column of tickets "
            "(id, owner, severity, team, wait, effort, year, escalated), found 'price'",
        ),
        (
            "orders -> avg customer",
            "at character 15: expected a number column (amount, weight, year), found 'customer'",
        ),
        ("orders ~ status > 5 -> id", "at character 17: status is a text and takes one of = != has"),
        (
            "orders ~ amount has 5 -> id",
            "at character 17: amount is a number and takes one of = != > < >= <=",
        ),
        ("orders ~ express > yes -> id", "at character 18: express is a flag and takes one of = !="),
        (
            "orders ~ express = maybe -> id",
            "at character 20: expected the flag's value (yes, no), found 'maybe'",
        ),
        (
            "orders ~ amount > 1,000 -> id",
            "at character 20: expected '~' and a filter, or '->' and what to return, found ','",
        ),
        (
            "orders ~ amount > $5 -> id",
            "at character 19: amount is compared with a number, such as 5 or 4.5; found '$5'",
        ),
        ("orders ~ customer = -> id", "at character 21: a text is missing here"),
        (
            "orders ~ customer = a, b -> id",
            "at character 22: a text that holds ',' is written in double quotes",
        ),
        ('orders ~ customer = "a -> id', "at character 21: '\"' has no place in a query"),
        ("orders -> id, id", "at character 15: id is returned twice"),
        ("orders -> id take 0", "at character 19: after 'take' comes a whole number from 1; found '0'"),
        ("orders -> id take 1.5", "at character 19: after 'take' comes a whole number from 1; found '1.5'"),
        ("orders -> id take 5 down amount", "at character 21: the query should end before 'down'"),
        ("orders -> count take 5", "at character 17: the query should end before 'take'"),
        ("orders -> id\norders -> id", "at character 14: the query should end before 'orders'"),
    ],
)
def test_a_finding_names_its_place_and_what_would_do(text, finding):
    assert problem(text) == finding


def test_a_valid_query_has_no_problem():
    assert problem("orders -> id") is None


def test_the_position_counts_from_one():
    with pytest.raises(GqlError) as caught:
        parse("orders -> nothing")
    assert caught.value.position == 11


def test_a_broken_reference_is_no_wrong_answer():
    with pytest.raises(GqlError, match="at character 1"):
        same_meaning("orders -> id", "SELECT id")


def test_no_text_raises_anything_else():
    chance = random.Random(0)
    pieces = [
        *"~,=<>!\"'-. \n\t\0é😀\ud800",
        "->",
        ">=",
        "orders",
        "amount",
        "status",
        "take",
        "down",
        "per",
        "5",
        "yes",
    ]
    for _ in range(20_000):
        text = "".join(chance.choice(pieces) + chance.choice(["", " "]) for _ in range(chance.randrange(14)))
        found = problem(text)
        assert found is None or found.startswith("at character ")


@pytest.mark.parametrize(
    "text",
    [
        '"' * 300_001,
        "orders ~ customer = " + "a " * 100_000,
        "orders " + "~ status = late " * 20_000 + "-> id",
        "orders ~ amount = " + "9" * 300_000 + " -> id",
        " " * 300_000,
        "-" * 300_000,
        "orders -> id take " + "9" * 300_000,
    ],
)
def test_a_long_text_takes_no_longer_than_its_length(text):
    start = time.thread_time()
    problem(text)
    assert time.thread_time() - start < 5


# The grader


def test_the_source_alone_is_a_python_grader():
    namespace: dict[str, object] = {"__name__": "somewhere_else"}
    exec(Path(gql.__file__).read_text(encoding="utf-8"), namespace)
    answer = {"output_text": " ORDERS ~ weight < 5.0 -> id\n"}
    assert namespace["grade"](answer, {"answer": "orders ~ weight < 5 -> id"}) == 1.0


def test_a_wrong_answer_scores_nothing():
    assert grade({"output_text": "orders -> count"}, {"answer": "orders -> id"}) == 0.0


# The data


def test_the_files_are_what_the_script_makes():
    done = subprocess.run(
        [sys.executable, str(DATA / "make.py"), "--check"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_every_query_is_valid_and_asks_its_own_table():
    for row in rows("pairs.csv") + rows("test.csv"):
        assert parse(row["query"]).table == row["entity"]


def test_there_is_enough_of_both():
    assert (len(rows("pairs.csv")), len(rows("test.csv"))) == (421, 120)


def test_no_meaning_comes_twice():
    both = rows("pairs.csv") + rows("test.csv")
    assert len({parse(row["query"]) for row in both}) == len(both)


def test_no_question_comes_twice_even_with_other_numbers_or_in_other_case():
    both = rows("pairs.csv") + rows("test.csv")
    assert len({re.sub(r"[\d.]+", "0", row["question"].casefold()) for row in both}) == len(both)


def test_both_files_mix_the_same_kinds():
    pairs, test = (Counter(row["kind"] for row in rows(name)) for name in ("pairs.csv", "test.csv"))
    assert set(pairs) == set(test)
    assert all(abs(pairs[kind] / 421 - test[kind] / 120) < 0.02 for kind in pairs)


def test_every_edge_case_comes_often_enough_to_be_learned():
    pairs = Counter(row["kind"] for row in rows("pairs.csv"))
    assert {kind: pairs[kind] for kind in EDGES} == dict.fromkeys(EDGES, 9)


def test_every_table_and_column_is_asked_about():
    used = Counter()
    for row in rows("pairs.csv"):
        query = parse(row["query"])
        named = {*query.columns, *query.measure[1:], query.per, *(f.column for f in query.filters)}
        used.update((query.table, column) for column in named - {None})
    asked = {(table, column) for table, columns in gql.TABLES.items() for column in columns}
    assert {pair for pair in asked if used[pair] < 8} == set()


def test_the_reference_names_every_table_and_column():
    text = (DATA / "reference.md").read_text(encoding="utf-8")
    for table, columns in gql.TABLES.items():
        (line,) = [line for line in text.splitlines() if line.strip().startswith(f"{table}:")]
        assert re.findall(r"\w+", re.sub(r"\(.*?\)", "", line)) == [table, *columns]


def test_the_examples_of_the_reference_are_valid():
    text = (DATA / "reference.md").read_text(encoding="utf-8")
    examples = text.split("Examples:")[1].split("\n")
    assert [problem(line.strip()) for line in examples if line.strip()] == [None, None]
