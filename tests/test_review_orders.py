"""The orders in which rows are reviewed: each row once, and the same tomorrow."""

import pytest

from workbench.dataset.check.report import FileFacts, Group, Report
from workbench.dataset.check.row import Finding
from workbench.dataset.dataset import Dataset, Example
from workbench.errors import DataError
from workbench.review import ORDERS, ordered


def asked(line: int, question: str, answer: str = "Yes.") -> Example:
    messages = ({"role": "user", "content": question}, {"role": "assistant", "content": answer})
    return Example(messages, f"faq.jsonl:{line}")


FAQ = Dataset(
    "faq.jsonl",
    (
        asked(1, "May I return it?"),
        asked(2, "Where is my parcel, and when will it be here?", "It is on its way."),
        asked(3, "Is it blue?"),
        asked(4, "How much is the fish in the window?"),
    ),
)


def report(*groups: tuple[str, str, list[int]], file: str = "faq.jsonl") -> Report:
    found = (
        Group(Finding(level, rule, "", "something is odd", "look"), file, lines)
        for level, rule, lines in groups
    )
    return Report((FileFacts("faq.jsonl", "training", 4),), tuple(found), "sft")


def test_the_order_of_the_file_is_the_order_of_the_file():
    assert ordered(FAQ, "file") == [0, 1, 2, 3]


def test_random_is_another_order_for_another_seed_and_the_same_for_the_same():
    many = Dataset("many", tuple(asked(line, f"{line}?") for line in range(1, 21)))
    assert ordered(many, "random", seed=1) == ordered(many, "random", seed=1)
    assert ordered(many, "random", seed=1) != ordered(many, "random", seed=2)


def test_the_longest_come_first():
    assert ordered(FAQ, "longest") == [1, 3, 0, 2]


def test_the_arguments_of_a_tool_call_count_as_length():
    call = {
        "type": "function",
        "id": "1",
        "function": {"name": "find", "arguments": '{"q": "' + 99 * "x" + '"}'},
    }
    calling = ({"role": "user", "content": "?"}, {"role": "assistant", "content": None, "tool_calls": [call]})
    assert ordered(Dataset("two", (asked(1, "Hello?"), Example(calling, "two:2"))), "longest") == [1, 0]


def test_near_duplicates_stand_side_by_side_and_the_others_follow():
    long = "Please tell me where the parcel is that I ordered on the third of May as number 4711, and when"
    rows = (
        asked(1, "Is it blue?"),
        asked(2, long),
        asked(3, "May I return it?"),
        asked(4, f"{long} it comes"),
    )
    assert ordered(Dataset("four", rows), "similar") == [1, 3, 0, 2]


def test_one_error_is_worse_than_many_warnings_and_two_are_worse_than_one():
    found = report(
        ("error", "role", [3]),
        ("warning", "refusal", [1, 4]),
        ("warning", "whitespace", [4]),
        ("info", "balance", [2]),
    )
    assert ordered(FAQ, "suspicious", report=found) == [2, 3, 0, 1]


def test_findings_about_another_file_or_about_the_whole_file_accuse_no_row():
    assert ordered(FAQ, "suspicious", report=report(("error", "role", [3]), file="other.jsonl")) == [
        0,
        1,
        2,
        3,
    ]
    assert ordered(FAQ, "suspicious", report=report(("error", "too_few", []))) == [0, 1, 2, 3]


def test_suspicion_needs_a_report():
    with pytest.raises(DataError, match=r"report=check\(dataset\)"):
        ordered(FAQ, "suspicious")


def test_an_unknown_order_is_told_which_there_are():
    with pytest.raises(
        DataError, match="no order 'worst'; there are file, random, longest, similar, suspicious"
    ):
        ordered(FAQ, "worst")


@pytest.mark.parametrize("by", ORDERS)
def test_every_order_holds_every_row_once(by):
    assert sorted(ordered(FAQ, by, report=report(("error", "role", [3])))) == [0, 1, 2, 3]


@pytest.mark.parametrize("by", ORDERS)
def test_nothing_to_look_at_is_no_problem(by):
    assert ordered(Dataset("none", ()), by, report=report()) == []
