"""A repair of a dataset: seen before it happens, applied as a whole or in part, and undone."""

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.dataset.check.report import FileFacts, Group, Report
from workbench.dataset.check.row import Finding
from workbench.dataset.dataset import Dataset, Example
from workbench.dataset.repair.changes import (
    changes_from_jsonl,
    changes_to_jsonl,
    find_changes,
    keep_changes,
    undo,
)
from workbench.dataset.repair.fixes import BY_DEFAULT
from workbench.dataset.repair.repair import propose
from workbench.errors import DataError


def example(number, *turns, metadata=None, **more):
    """``example(3, "user: Hi", "bot: Hello")`` from line 3."""
    messages = [{"role": role, "content": text} for role, _, text in (turn.partition(": ") for turn in turns)]
    return Example(tuple(messages), f"faq.csv:{number}", more, metadata or {})


def dataset(*examples):
    return Dataset("faq.csv", examples, ("the separator is a comma",))


CLEAN = dataset(
    example(2, "user: Hi", "assistant: Hello", metadata={"customer": "A"}),
    example(3, "system: Be brief.", "user: Who?", "assistant: Me."),
)
DEFECTIVE = dataset(
    example(2, "human: Hi", "gpt: Hello ", metadata={"customer": "A"}),
    example(3, "user: Hi", "assistant: Hello", metadata={"customer": "B"}),
    example(4, "user: Who?", "user: Tell me.", "assistant: Me."),
    example(5, "user: <b>&", "assistant: Fine."),
)


def report(*found):
    """What a check would say: ``("overlap", 3, 5)`` for two lines."""
    groups = [
        Group(Finding(level, rule, "", "a finding", "act"), "faq.csv", lines)
        for level, rule, *lines in (("error", *each) for each in found)
    ]
    return Report((FileFacts("faq.csv", "training", 4),), tuple(groups), "sft")


def answers(data):
    return [one.answer for one in data]


def test_a_clean_dataset_needs_nothing():
    repair = propose(CLEAN)
    assert repair.changes.items == ()
    assert repair.apply() == CLEAN
    assert repair.to_jsonl() == CLEAN.to_jsonl()
    assert repair.before_sha256 == repair.after_sha256 == CLEAN.sha256


def test_applying_gives_new_data_and_leaves_the_old():
    before = DEFECTIVE.to_jsonl()
    repaired = propose(DEFECTIVE).apply()
    assert answers(repaired) == ["Hello", "Me.", "Fine."]
    assert [one.origin for one in repaired] == ["faq.csv:2", "faq.csv:4", "faq.csv:5"]
    assert repaired[0].metadata == {"customer": "A"}
    assert repaired.notes == DEFECTIVE.notes
    assert repaired[2] is DEFECTIVE[3]
    assert DEFECTIVE.to_jsonl() == before


def test_the_rules_say_how_many_rows_each_of_them_changes():
    rules = propose(DEFECTIVE).rules
    assert {rule: proposal.rows for rule, proposal in rules.items()} == {
        "role": 1,
        "whitespace": 1,
        "order": 1,
        "duplicate": 1,
    }
    assert rules["duplicate"].title == "rows equal to an earlier one dropped"
    assert rules["duplicate"].by_default


def test_the_record_has_hashes_and_numbers_and_no_texts():
    repair = propose(DEFECTIVE)
    assert json.loads(json.dumps(repair.record)) == {
        "data": "faq.csv",
        "before_sha256": DEFECTIVE.sha256,
        "after_sha256": repair.apply().sha256,
        "rows_changed": {"role": 1, "whitespace": 1, "order": 1, "duplicate": 1},
        "rows_dropped": 1,
        "unreadable": 0,
    }


def test_a_diff_shows_the_lines_that_change():
    assert propose(DEFECTIVE).diff("order") == (
        "--- faq.csv:4\n"
        "+++ faq.csv:4, repaired by the rule 'order'\n"
        "  user: Who?\n"
        "- user: Tell me.\n"
        "+ \n"
        "+     Tell me.\n"
        "  assistant: Me."
    )


def test_a_diff_of_long_texts_shows_the_place_where_they_differ():
    long = example(2, "user: Hi", f"assistant: {'word ' * 1000}end ")
    diff = propose(dataset(long)).diff()
    assert diff.splitlines()[-1] == "+ assistant: …d word word word word word word word end"
    assert len(diff) < 600


def test_a_diff_says_how_many_changes_it_leaves_out():
    assert propose(DEFECTIVE).diff(limit=1).endswith("\nand 3 more changes")


def test_a_diff_has_no_characters_that_a_terminal_obeys():
    hostile = dataset(example(2, "user: \x1b[2J\u202e", "assistant: Hello "))
    diff = propose(hostile, rules=["whitespace"]).only("whitespace").diff()
    assert "\x1b" not in diff
    assert "\u202e" not in diff


def test_a_part_of_the_repair_can_be_chosen():
    repair = propose(DEFECTIVE)
    assert list(repair.only("role", "whitespace").rules) == ["role", "whitespace"]
    assert answers(repair.without("duplicate").apply()) == ["Hello", "Hello", "Me.", "Fine."]


def test_without_a_rule_the_rest_is_found_anew():
    # The first row only equals the second once its roles are right.
    assert "duplicate" not in propose(DEFECTIVE).without("role").rules


def test_a_rule_that_changes_nothing_cannot_be_chosen():
    with pytest.raises(
        DataError, match=r"changes nothing by 'weight'; it has role, whitespace, order, duplicate"
    ):
        propose(DEFECTIVE).only("weight")


def test_an_unknown_method_is_refused():
    with pytest.raises(DataError, match="There is no method 'ppo'; choose sft, dpo, rft"):
        propose(CLEAN, method="ppo")


def test_what_is_shown_is_escaped_and_marked_by_signs(unstyled):
    html = unstyled(propose(DEFECTIVE, report(("overlap", 5)), rules=["overlap"])._repr_html_())
    assert re.search(r'<th scope="row">overlap</th><td>.*</svg>1</span></td>', html)
    assert "<span>- user: &lt;b&gt;&amp;\n</span><span>- assistant: Fine.\n</span>" in html


def test_what_a_repair_shows_holds_no_password_and_no_address(unstyled):
    said = "Write to jane.miller@contoso.com, the password is hunter2-Zebra-99!"
    chat = ({"role": "user", "content": "How?"}, {"role": "assistant", "content": said})
    repair = propose(Dataset("faq", (Example(chat, "faq:1"),)), rules=["pii", "secret"])
    assert set(repair.rules) == {"pii", "secret"}
    for shown in (repair.diff(), repair._repr_html_(), repr(repair), str(repair.diff("pii"))):
        assert "miller" not in shown
        assert "hunter2" not in shown
    assert "- assistant: Write to ja•••, the password is •••" in repair.diff("pii")
    assert "[EMAIL_1]" in repair.diff("pii")


def test_a_repair_of_nothing_says_so():
    assert "Nothing to repair." in propose(CLEAN)._repr_html_()
    assert repr(propose(CLEAN)) == "Repair of faq.csv: 0 changes in 0 rows"


def test_a_repair_tells_its_sum_and_its_rules():
    assert repr(propose(DEFECTIVE)).splitlines()[:2] == [
        "Repair of faq.csv: 4 changes in 3 rows, 1 row dropped",
        "role: 1 row, other names of a role or its field (human, bot, GPT, from) replaced",
    ]


def test_undo_gives_the_same_examples_back():
    repair = propose(DEFECTIVE)
    assert undo(repair.apply(), repair.changes) == DEFECTIVE


def test_undo_refuses_data_that_was_edited_since():
    repair = propose(DEFECTIVE)
    with pytest.raises(DataError, match=r"faq.csv is no longer as the repair left it"):
        undo(repair.apply().take(1), repair.changes)


def test_undo_refuses_a_file_for_a_dataset():
    repair = propose(DEFECTIVE)
    with pytest.raises(DataError, match="made to a dataset, and this is a file"):
        undo(repair.to_jsonl(), repair.changes)


def test_changes_that_were_written_down_undo_as_well(tmp_path):
    repair = propose(DEFECTIVE)
    path = keep_changes(repair.changes, tmp_path / "changes")
    assert path.stat().st_mode & 0o077 == 0
    known = find_changes(repair.apply().sha256, tmp_path / "changes")
    assert undo(repair.apply(), known) == DEFECTIVE


def test_changes_of_other_data_are_not_found(tmp_path):
    with pytest.raises(DataError, match="no repair led to this data"):
        find_changes(DEFECTIVE.sha256, tmp_path)


@pytest.mark.parametrize("data", [b"", b"{}", b"not JSON", b'{"name": "faq"}\n[]', b"[]\n{}"])
def test_what_is_no_record_of_changes_is_refused(data):
    with pytest.raises(DataError, match="no changes of a repair"):
        changes_from_jsonl(data)


def test_rows_the_check_has_found_are_dropped_when_the_rule_is_named():
    repair = propose(DEFECTIVE, report(("overlap", 3, 5)), rules=["overlap"])
    assert repair.dropped == ("faq.csv:3", "faq.csv:5")
    assert "overlap" not in propose(DEFECTIVE, report(("overlap", 3, 5))).rules


def test_rules_that_go_by_a_check_ask_for_its_report():
    with pytest.raises(DataError, match=r"'overlap' goes by what a check has found; give its report"):
        propose(DEFECTIVE, rules=["overlap"])


def test_all_answers_that_contradict_each_other_go():
    data = dataset(
        example(2, "user: How many?", "assistant: Two."),
        example(3, "user: how many", "assistant: Three."),
        example(4, "user: Who?", "assistant: Me."),
    )
    repair = propose(data, report(("contradiction", 3)), rules=["contradiction"])
    assert repair.dropped == ("faq.csv:2", "faq.csv:3")


def test_what_is_only_worth_knowing_drops_nothing():
    finding = Finding("info", "near_duplicate", "", "close", "look")
    known = Report((FileFacts("faq.csv", "training", 4),), (Group(finding, "faq.csv", [3]),), "sft")
    assert not propose(DEFECTIVE, known, rules=["near_duplicate"]).changes


def test_what_is_in_a_corpus_too_is_not_dropped_with_what_is_in_the_test_data():
    finding = Finding("warning", "overlap", "", "faq.txt:1 says the same", "mean it")
    known = Report((FileFacts("faq.csv", "training", 4),), (Group(finding, "faq.csv", [3]),), "sft")
    assert not propose(DEFECTIVE, known, rules=["overlap"]).changes


def test_refusals_are_dropped_when_named():
    data = dataset(
        example(2, "user: Help me.", "assistant: I'm sorry, but I can't help with that."),
        example(3, "user: Who?", "assistant: I can't say who is sorry, but here is a list."),
    )
    assert propose(data, rules=["refusal"]).dropped == ("faq.csv:2",)


def test_the_same_address_gets_the_same_placeholder_in_every_row():
    data = dataset(
        example(2, "user: Write to jane@contoso.com", "assistant: I will."),
        example(3, "user: Who is Jane@contoso.com?", "assistant: Jane."),
    )
    repair = propose(data, rules=["pii"])
    assert [one.question for one in repair.apply()] == ["Write to [EMAIL_1]", "Who is [EMAIL_1]?"]
    assert undo(repair.apply(), repair.changes) == data


def test_secrets_are_replaced_by_their_own_rule():
    key = "AKIA" + "QYLPMN5HHHFPZAM2"
    data = dataset(example(2, f"user: My key is {key}, my address jane@contoso.com", "assistant: Hide it."))
    question = propose(data, rules=["secret"]).apply()[0].question
    assert key not in question
    assert "jane@contoso.com" in question


def test_duplicates_must_be_equal_in_all_that_is_uploaded():
    again = example(2, "user: Hi", "assistant: Hello", tools=[])
    other = example(3, "user: Hi", "assistant: Hello!", tools=[])
    assert not propose(dataset(again, other, example(4, "user: Hi", "assistant: Hello"))).changes


def test_rows_that_would_be_refused_are_dropped_when_errors_is_named():
    data = dataset(example(2, "user: Hi", "assistant: "), example(3, "user: Hi", "assistant: Hello"))
    assert not propose(data).changes
    assert propose(data, rules=[*BY_DEFAULT, "errors"]).dropped == ("faq.csv:2",)


def test_one_system_message_is_put_in_front_of_all():
    data = dataset(
        example(2, "system: Be brief.", "user: Hi", "assistant: Hello"),
        example(3, "system: Be brief.", "user: Who?", "assistant: Me."),
        example(4, "user: Why?", "assistant: So."),
    )
    repaired = propose(data, rules=["system"]).apply()
    assert [one.messages[0]["content"] for one in repaired] == ["Be brief."] * 3
    given = propose(data, rules=["system"], system="Be kind.").apply()
    assert [one.messages[0]["content"] for one in given] == ["Be kind."] * 3
    assert [len(one.messages) for one in given] == [3, 3, 3]


def test_if_most_rows_have_no_system_message_none_has():
    data = dataset(
        example(2, "system: Be brief.", "user: Hi", "assistant: Hello"),
        example(3, "user: Who?", "assistant: Me."),
        example(4, "user: Why?", "assistant: So."),
    )
    assert [len(one.messages) for one in propose(data, rules=["system"]).apply()] == [2, 2, 2]


TEXTS = st.text(max_size=12) | st.sampled_from(["Hi", " Hi ", "CafÃ©", "\ud83d", "a\x00b", ""])
ROLES = st.sampled_from(["user", "assistant", "system", "human", "Bot", "tool", "narrator", 7])
CONTENTS = TEXTS | st.none() | st.integers(0, 9) | st.lists(TEXTS, max_size=2) | st.booleans()
MESSAGES = st.fixed_dictionaries(
    {"role": ROLES, "content": CONTENTS}, optional={"weight": st.sampled_from([0, 1, "1", True, None, 0.5])}
)
EXAMPLES = st.builds(
    lambda messages, metadata, more: (tuple(messages), metadata, more),
    st.lists(MESSAGES, max_size=5),
    st.dictionaries(st.sampled_from(["customer", "topic"]), TEXTS),
    st.dictionaries(st.sampled_from(["tools", "answer"]), st.lists(st.integers(), max_size=1)),
)
DATASETS = st.lists(EXAMPLES, max_size=6).map(
    lambda rows: Dataset(
        "faq", tuple(Example(m, f"faq:{n}", more, data) for n, (m, data, more) in enumerate(rows))
    )
)


@settings(max_examples=150, deadline=None)
@given(DATASETS)
def test_whatever_is_repaired_can_be_undone(data):
    repair = propose(data)
    repaired = repair.apply()
    assert repaired.sha256 == repair.after_sha256
    assert undo(repaired, repair.changes) == data
    assert undo(repaired, changes_from_jsonl(changes_to_jsonl(repair.changes))).sha256 == data.sha256


@settings(max_examples=150, deadline=None)
@given(DATASETS, st.sampled_from(["sft", "dpo", "rft"]))
def test_what_was_repaired_needs_no_repair(data, method):
    assert not propose(propose(data, method=method).apply(), method=method).changes
