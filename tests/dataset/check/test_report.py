"""The report: equal findings together, every place listed, and nothing that depends on the order of work."""

import json
import re
import tracemalloc
from array import array

import pytest

from workbench.dataset.check.report import FileFacts, Findings, Group, Report, ascending, in_order
from workbench.dataset.check.row import Finding

EMPTY = Finding("error", "empty", "messages[1].content", "there is no text", "fill it in")
FEW = Finding("warning", "few", "", "12 examples", "add some")
NOTE = Finding("info", "images", "", "3 examples with images", "compare")


def report(*groups):
    return Report((FileFacts("faq.jsonl", "training", 12),), in_order(groups), "sft")


def test_equal_findings_share_their_lines():
    findings = Findings()
    findings.add(EMPTY, (3,))
    findings.add(FEW, ())
    findings.add(EMPTY, (7, 9))
    assert list(findings) == [(EMPTY, array("q", (3, 7, 9))), (FEW, array("q"))]


def test_lines_come_in_ascending_order():
    findings = Findings()
    findings.add(EMPTY, (7, 3))
    assert list(findings) == [(EMPTY, array("q", (3, 7)))]
    assert ascending([2, 1, 1]) == array("q", (1, 1, 2))


def kind(number):
    return EMPTY._replace(message=f"finding {number:03d}")


def test_of_each_rule_the_first_kinds_are_kept_and_the_other_places_together():
    findings = Findings(kinds=2)
    for line, number in enumerate((5, 1, 3, 2, 5), 1):
        findings.add(kind(number), (line,))
    findings.add(FEW, ())
    kept = {finding.message: list(lines) for finding, lines in findings}
    assert kept == {
        "finding 001": [2],
        "finding 002": [4],
        "12 examples": [],
        "something else by this rule, of which there are too many different ones to keep": [1, 3, 5],
    }


@pytest.mark.parametrize("cut", range(0, 41, 5))
def test_findings_are_the_same_however_the_rows_are_cut(cut):
    numbers = [(line * 7) % 13 for line in range(40)]
    whole, first, second = (Findings(kinds=4) for _ in range(3))
    for line, number in enumerate(numbers):
        whole.add(kind(number), (line,))
        (first if line < cut else second).add(kind(number), (line,))
    first.merge(second)
    assert sorted(first) == sorted(whole)


def test_findings_that_were_cut_off_once_are_not_told_apart_again():
    inner, outer = Findings(kinds=1), Findings(kinds=2)
    for line, number in enumerate((1, 2, 3)):
        inner.add(kind(number), (line,))
    for finding, lines in inner:
        outer.add(finding, lines)
    assert [list(lines) for _, lines in outer] == [[0], [1, 2]]


def test_a_million_equal_findings_take_eight_bytes_each():
    findings = Findings()
    tracemalloc.start()
    try:
        for line in range(100_000):
            findings.add(EMPTY, (line,))
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


def test_the_worst_comes_first_and_then_what_stands_first():
    late, early = Group(EMPTY, "faq.jsonl", (9,)), Group(kind(1), "faq.jsonl", (2, 11))
    whole, few, note = Group(kind(2), "faq.jsonl"), Group(FEW, "faq.jsonl"), Group(NOTE, "faq.jsonl")
    assert in_order([note, few, late, early, whole]) == (whole, early, late, few, note)


def test_every_problem_is_listed_at_its_place():
    problems = report(Group(EMPTY, "faq.jsonl", array("q", (3, 7))), Group(FEW, "faq.jsonl")).problems
    assert [(p.level, p.rule, p.line, p.path) for p in problems] == [
        ("error", "empty", 3, "messages[1].content"),
        ("error", "empty", 7, "messages[1].content"),
        ("warning", "few", None, ""),
    ]
    assert str(problems[0]) == "error: faq.jsonl:3 messages[1].content: there is no text; fill it in."
    assert str(problems[2]) == "warning: faq.jsonl: 12 examples; add some."


def test_a_report_without_errors_is_ok():
    assert report(Group(FEW, "faq.jsonl"), Group(NOTE, "faq.jsonl")).ok
    assert not report(Group(EMPTY, "faq.jsonl", (1,))).ok


def test_the_places_of_the_errors_can_be_left_out_of_a_dataset():
    found = report(Group(EMPTY, "faq.jsonl", (3, 7)), Group(FEW, "faq.jsonl", (4,)))
    assert found.bad == {"faq.jsonl:3", "faq.jsonl:7"}
    assert [problem.line for problem in found.of("few")] == [4]
    assert found.counts == {"error": 2, "warning": 1, "info": 0}


def test_the_json_lists_every_place():
    found = report(Group(EMPTY, "faq.jsonl", array("q", (3, 7))), Group(FEW, "faq.jsonl"))
    told = json.loads("".join(found.to_json()))
    assert (told["ok"], told["examples"], told["method"]) == (False, 12, "sft")
    assert told["counts"] == {"error": 2, "warning": 1, "info": 0}
    assert told["problems"][1] == {
        "level": "error",
        "rule": "empty",
        "file": "faq.jsonl",
        "line": 7,
        "path": "messages[1].content",
        "message": "there is no text",
        "fix": "fill it in",
    }
    assert told["problems"][2]["line"] is None
    assert json.loads("".join(report().to_json()))["problems"] == []


def test_the_json_comes_in_pieces():
    lines = array("q", range(1, 1_000_001))
    pieces = report(Group(EMPTY, "faq.jsonl", lines)).to_json()
    assert sum(len(next(pieces)) for _ in range(10)) < 3_000


def test_a_person_reads_each_kind_once_with_its_first_place():
    elsewhere = EMPTY._replace(path="messages[3].content")
    found = report(
        Group(EMPTY, "faq.jsonl", (3, 7)), Group(elsewhere, "faq.jsonl", (5,)), Group(FEW, "faq.jsonl")
    )
    assert repr(found) == (
        "faq.jsonl: 12 examples, 3 errors, 1 warning\n"
        "error: faq.jsonl:3 and 2 more places messages[1].content: there is no text; fill it in.\n"
        "warning: faq.jsonl: 12 examples; add some."
    )


def test_a_long_report_says_how_much_of_it_is_shown():
    found = report(*(Group(kind(number), "faq.jsonl", (number,)) for number in range(60)))
    assert repr(found).splitlines()[0] == (
        "faq.jsonl: 12 examples, 60 errors, 0 warnings, the first 50 of 60 kinds"
    )
    assert len(repr(found).splitlines()) == 51


def test_the_table_escapes_what_the_data_say():
    shown = report(Group(EMPTY._replace(message="'<b>' is no role"), "a<i>.jsonl", (1,)))._repr_html_()
    assert "&lt;b&gt;" in shown
    assert "<b>" not in shown
    assert "<i>" not in shown


def test_a_clean_report_says_so():
    assert "Nothing to complain about." in report()._repr_html_()


LEAK = Finding("error", "near_overlap", "", "test.csv:4 asks nearly the same", "look at both")


def test_findings_of_one_rule_are_one_line_the_worst_first_then_the_most_frequent(unstyled):
    same = Finding("warning", "duplicate", "", "the same stands at faq.jsonl:1", "keep one of them")
    found = report(
        *(
            Group(same._replace(message=f"the same stands at faq.jsonl:{n}"), "faq.jsonl", (n + 10,))
            for n in range(8)
        ),
        Group(FEW, "faq.jsonl"),
        Group(EMPTY, "faq.jsonl", (3,)),
    )
    assert [(rule.level, rule.rule, rule.places) for rule in found.by_rule] == [
        ("error", "empty", 1),
        ("warning", "duplicate", 8),
        ("warning", "few", 1),
    ]
    assert found.by_rule[1].where == "faq.jsonl, lines 10, 11, 12, 13 and 4 more"
    first = unstyled(found._repr_html_()).partition("<details")[0]
    assert first.count('<th scope="row">') == 3
    assert "the same stands at faq.jsonl:0; 7 other findings of this rule" in first


def test_what_became_of_findings_stands_side_by_side():
    before = report(Group(EMPTY, "faq.jsonl", (3, 7)), Group(FEW, "faq.jsonl"))
    change = report(Group(FEW, "faq.jsonl")).since(before)
    assert change.verdict == "faq.jsonl: 2 errors before, 0 now; 1 warning before, 1 now"
    row = change._repr_html_().partition(">empty<")[2].partition("</tr>")[0]
    assert re.findall(r"</svg>(\d+)", row) == ["2", "0"]


def test_rows_that_are_left_out_are_named_with_their_rule_and_the_way_to_keep_them():
    found = report(Group(EMPTY, "faq.jsonl", (3,)), Group(LEAK, "faq.jsonl", (3, 9)), Group(FEW, "faq.jsonl"))
    left_out = found.left_out()
    assert left_out.origins == {"faq.jsonl:3", "faq.jsonl:9"}
    assert left_out.verdict == (
        "2 rows left out, because an error is left there (empty, near_overlap). Repair them, or name the "
        "rule in KEEP to use them as they are"
    )
    assert "faq.jsonl:3, faq.jsonl:9" in left_out._repr_html_()
    kept = found.left_out(keep=["near_overlap"])
    assert kept.origins == {"faq.jsonl:3"}
    assert "No row is left out" in report(Group(FEW, "faq.jsonl")).left_out().verdict
