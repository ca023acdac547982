"""Decisions about rows: nothing decided is lost, and it counts for the row wherever it stands."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from workbench.dataset.dataset import Dataset, Example
from workbench.errors import DataError, SetupError
from workbench.project import open_project
from workbench.review import Decisions, RowDecision, key_of, open_review


def asked(line: int, question: str, answer: str = "Yes.") -> Example:
    messages = ({"role": "user", "content": question}, {"role": "assistant", "content": answer})
    return Example(messages, f"faq.jsonl:{line}", metadata={"customer": f"c{line}"})


RETURN, PARCEL, BLUE = rows = (
    asked(1, "May I return it?"),
    asked(2, "Where is it?"),
    asked(3, "Is it blue?"),
)
FAQ = Dataset("faq.jsonl", rows, ("3 chats",))


def saying(answer: str) -> dict[str, object]:
    """A whole line."""
    return {
        "messages": [{"role": "user", "content": "Where is it?"}, {"role": "assistant", "content": answer}]
    }


@pytest.fixture
def decisions(tmp_path: Path) -> Decisions:
    return Decisions(tmp_path / "review" / "review.jsonl")


def test_they_lie_in_the_project_and_nothing_is_there_before_the_first(home):
    decisions = open_review(open_project("gql"), "second-look")
    assert decisions.of(RETURN) is None
    assert not home.exists()
    decisions.decide(RETURN, "keep")
    assert decisions.path == home / "projects" / "gql" / "review" / "second-look.jsonl"
    assert decisions.path.is_file()


@pytest.mark.parametrize("name", ["", "a/b", "..", "a.b", "x" * 65])
def test_a_name_that_is_no_file_name_is_refused(home, name):
    with pytest.raises(DataError, match="cannot name a file in review"):
        open_review(open_project("gql"), name)


def test_the_latest_decision_counts(decisions):
    decisions.decide(RETURN, "drop", rating=1)
    decided = decisions.decide(RETURN, "keep", comment="it is fine")
    assert decisions.of(RETURN) == decided == RowDecision("keep", None, None, "it is fine", decided.at)
    assert decided.at.endswith("+00:00")
    assert len(decisions) == 1


def test_another_kernel_reads_what_was_decided(decisions):
    other = Decisions(decisions.path)
    assert len(other) == 0
    decisions.decide(RETURN, "edit", edited=saying("Füße 🦶"), rating=4)
    assert other.of(RETURN) == decisions.of(RETURN)
    other.decide(PARCEL, "drop")
    assert list(decisions.latest) == [key_of(RETURN), key_of(PARCEL)]


def test_the_row_decided_last_stands_at_the_end(decisions):
    for example in (RETURN, PARCEL, RETURN):
        decisions.decide(example, "keep")
    assert list(decisions.latest) == [key_of(PARCEL), key_of(RETURN)]


def test_many_kernels_can_decide_at_once(decisions):
    def decide(number: int) -> None:
        Decisions(decisions.path).decide(asked(number, f"{number}?"), "keep", rating=number % 5 + 1)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(decide, range(40)))
    assert decisions.counts() == {"keep": 40, "drop": 0, "edit": 0, "open": 0}


def test_a_row_is_known_by_its_content_not_by_its_place_or_the_order_of_its_keys(decisions):
    decisions.decide(RETURN, "drop")
    turned = tuple(dict(reversed(message.items())) for message in RETURN.messages)
    assert decisions.of(Example(turned, "other.csv:77")).verdict == "drop"
    assert decisions.of(asked(1, "May I return it!")) is None


def test_a_forgotten_row_is_open_again(decisions):
    decisions.decide(RETURN, "drop")
    decisions.forget(RETURN)
    assert decisions.of(RETURN) is None
    assert Decisions(decisions.path).of(RETURN) is None
    assert decisions.apply(FAQ) == FAQ


def test_a_line_cut_by_a_crash_is_skipped_and_does_not_swallow_the_next(decisions):
    decisions.decide(RETURN, "drop")
    with decisions.path.open("ab") as file:
        file.write(b'{"row": "00", "verd')
    assert len(Decisions(decisions.path)) == 1
    decisions.decide(PARCEL, "drop")
    assert decisions.apply(FAQ).examples == (BLUE,)
    assert Decisions(decisions.path).apply(FAQ).examples == (BLUE,)


@pytest.mark.parametrize("line", ['{"row": "00", "verdict": "burn"}', '{"verdict": "keep"}', "[]", "7"])
def test_a_whole_line_that_is_no_decision_is_named(decisions, line):
    decisions.decide(RETURN, "drop")
    with decisions.path.open("a") as file:
        file.write(line + "\n")
    with pytest.raises(DataError, match=r"review\.jsonl holds a line that is no decision: .*; remove it"):
        decisions.of(RETURN)


def test_a_deleted_file_is_a_new_beginning(decisions):
    decisions.decide(RETURN, "drop")
    assert len(decisions) == 1
    decisions.path.unlink()
    assert decisions.of(RETURN) is None
    decisions.decide(PARCEL, "keep")
    assert list(decisions.latest) == [key_of(PARCEL)]


def test_a_disk_that_refuses_is_a_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SetupError, match=r"cannot be written: .*WORKBENCH_HOME"):
        Decisions(tmp_path / "file" / "review.jsonl").decide(RETURN, "keep")


def test_what_is_dropped_is_out_what_is_edited_is_replaced_and_the_rest_is_as_it_was(decisions):
    decisions.decide(RETURN, "drop")
    decisions.decide(PARCEL, "edit", edited=saying("On its way."))
    applied = decisions.apply(FAQ)
    assert [example.answer for example in applied] == ["On its way.", "Yes."]
    assert [example.origin for example in applied] == ["faq.jsonl:2", "faq.jsonl:3"]
    assert applied[0].metadata == {"customer": "c2"}
    assert applied[1] is BLUE
    assert (applied.name, applied.notes) == (FAQ.name, FAQ.notes)


def test_rows_with_the_same_content_share_a_decision(decisions):
    decisions.decide(RETURN, "drop")
    twice = Dataset("twice", (RETURN, PARCEL, replace(RETURN, origin="faq.jsonl:9")))
    assert decisions.apply(twice).examples == (PARCEL,)


def test_a_preference_pair_can_be_edited(decisions):
    yes, no = [{"role": "assistant", "content": "Yes."}], [{"role": "assistant", "content": "No."}]
    question = ({"role": "user", "content": "?"},)
    pair = Example(question, "p:1", {"preferred_output": yes, "non_preferred_output": no})
    line = {"input": {"messages": list(question)}, "preferred_output": no, "non_preferred_output": yes}
    decisions.decide(pair, "edit", edited=line)
    assert decisions.apply(Dataset("p", (pair,)))[0].answer == "No."


@pytest.mark.parametrize("line", [{}, {"messages": "Hello"}, {"prompt": "a", "completion": "b"}])
def test_an_edited_line_that_is_no_example_is_refused_and_not_written(decisions, line):
    with pytest.raises(DataError, match=r"edited row cannot be used: faq\.jsonl line 2"):
        decisions.decide(PARCEL, "edit", edited=line)
    assert not decisions.path.exists()


def test_ratings_stand_beside_their_rows(decisions):
    decisions.decide(PARCEL, "open", rating=5)
    decisions.decide(BLUE, "drop", rating=1)
    assert decisions.ratings(FAQ) == (None, 5, 1)
    assert decisions.apply(FAQ).examples == (RETURN, PARCEL)


@pytest.mark.parametrize("rating", [0, 6, 2.5, "5"])
def test_a_rating_is_a_whole_number_from_1_to_5(decisions, rating):
    with pytest.raises(DataError, match=r"is no rating; give a whole number from 1 to 5"):
        decisions.decide(BLUE, "keep", rating=rating)


def test_a_verdict_is_one_of_four(decisions):
    with pytest.raises(DataError, match="no verdict 'burn'; there are keep, drop, edit, open"):
        decisions.decide(BLUE, "burn")


@pytest.mark.parametrize(("verdict", "line"), [("edit", None), ("keep", saying("On its way."))])
def test_an_edited_line_and_the_verdict_edit_belong_together(decisions, verdict, line):
    with pytest.raises(DataError, match="give both or neither"):
        decisions.decide(BLUE, verdict, edited=line)


def test_half_a_surrogate_pair_has_a_decision_like_any_text(decisions):
    half = json.loads(r'"\ud83d"')
    decisions.decide(asked(1, half), "drop", comment=half)
    assert Decisions(decisions.path).of(asked(1, half)).comment == half


def test_the_summary_counts_verdicts_and_ratings(decisions, unstyled):
    decisions.decide(RETURN, "drop", rating=1)
    decisions.decide(PARCEL, "keep", rating=5)
    decisions.decide(BLUE, "keep", rating=4)
    assert repr(decisions) == "Decisions(review.jsonl: 2 kept, 1 dropped, 0 edited, 0 open)"
    html = unstyled(decisions._repr_html_())
    assert "<caption>review.jsonl: 3 rows reviewed</caption>" in html
    assert '<tr><th scope="row">kept</th><td>2</td><td>2</td><td>4.5</td></tr>' in html
    assert '<tr><th scope="row">dropped</th><td>1</td><td>1</td><td>1.0</td></tr>' in html


def test_what_was_read_stays_as_it_was_while_somebody_decides_on(decisions):
    decisions.decide(RETURN, "keep")
    before = decisions.latest
    decisions.decide(PARCEL, "keep")
    assert list(before) == [key_of(RETURN)]
