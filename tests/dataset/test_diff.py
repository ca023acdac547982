"""Two versions of a dataset: what came, what went, what is answered otherwise."""

from workbench.dataset.dataset import Dataset, Example
from workbench.dataset.diff import difference, row_changes


def faq(*pairs: tuple[str, str]) -> Dataset:
    rows = [
        Example(({"role": "user", "content": question}, {"role": "assistant", "content": answer}), f"faq:{n}")
        for n, (question, answer) in enumerate(pairs, 1)
    ]
    return Dataset("faq", tuple(rows))


def origins(examples):
    return [example.origin for example in examples]


def test_another_order_is_no_difference():
    changes = row_changes(faq(("A", "1"), ("B", "2")), faq(("B", "2"), ("A", "1")))
    assert (len(changes), changes.same) == (0, 2)
    assert repr(changes) == "The same 2 rows in both."


def test_a_row_that_asks_the_same_and_answers_otherwise_is_changed():
    changes = row_changes(faq(("A", "1"), ("B", "2")), faq(("A", "1"), ("B", "3")))
    assert [(old.answer, new.answer) for old, new in changes.changed] == [("2", "3")]
    assert (changes.added, changes.removed, changes.same) == ((), (), 1)


def test_rows_come_and_go():
    changes = row_changes(faq(("A", "1"), ("B", "2")), faq(("A", "1"), ("C", "3"), ("D", "4")))
    assert (origins(changes.removed), origins(changes.added)) == (["faq:2"], ["faq:2", "faq:3"])
    assert repr(changes) == (
        "2 rows added, 1 removed, 0 with another answer, 1 the same.\n\n"
        "faq:2\n- user: B\n- assistant: 2\n\n"
        "faq:2\n+ user: C\n+ assistant: 3\n\n"
        "faq:3\n+ user: D\n+ assistant: 4"
    )


def test_a_row_that_occurs_twice_and_then_once_was_removed_once():
    changes = row_changes(faq(("A", "1"), ("A", "1")), faq(("A", "1")))
    assert (origins(changes.removed), changes.added, changes.same) == (["faq:2"], (), 1)


def test_a_question_with_two_answers_keeps_them_apart():
    changes = row_changes(faq(("A", "1"), ("A", "2")), faq(("A", "2"), ("A", "3")))
    assert [(old.answer, new.answer) for old, new in changes.changed] == [("1", "3")]
    assert changes.same == 1


def test_what_looks_like_html_is_shown_as_text():
    html = row_changes(faq(), faq(("<b>A</b>", "1")))._repr_html_()
    assert "&lt;b&gt;A&lt;/b&gt;" in html
    assert "<b>A</b>" not in html


# What a change looks like: legible to a person, and nothing in it that a terminal obeys.


def chat(*turns, **more):
    """``chat("user: Hi", "assistant: Hello")``."""
    pairs = (turn.partition(": ") for turn in turns)
    return {"messages": [{"role": role, "content": text} for role, _, text in pairs], **more}


def test_a_changed_answer_is_shown_below_what_was_asked():
    before = chat("system: Be brief.", "user: Who?", "assistant: Mee.")
    after = chat("system: Be brief.", "user: Who?", "assistant: Me.")
    assert difference(before, after) == "  user: Who?\n- assistant: Mee.\n+ assistant: Me."


def test_white_space_around_a_text_is_drawn():
    before, after = chat("user: Hi", "assistant:  \tHello \n"), chat("user: Hi", "assistant: Hello")
    assert difference(before, after) == "  user: Hi\n- assistant: ·→Hello·↵\n+ assistant: Hello"


def test_a_dropped_row_is_its_lines_and_no_more():
    row = chat("system: Be brief.", "user: Who?\nYou?", "assistant: Me.", score=1)
    assert difference(row, None) == (
        "- system: Be brief.\n- user: Who?\n-     You?\n- assistant: Me.\n- score: 1"
    )


def test_a_message_with_more_than_a_text_is_shown_by_its_place():
    before, after = chat("user: Hi", "assistant: Hello"), chat("user: Hi", "assistant: Hello")
    before["messages"][1]["weight"] = "1"
    after["messages"][1]["weight"] = 1
    assert difference(before, after) == (
        "  user: Hi\n"
        '- messages[1]: {"role": "assistant", "content": "Hello", "weight": "1"}\n'
        '+ messages[1]: {"role": "assistant", "content": "Hello", "weight": 1}'
    )


def test_other_keys_are_shown_by_their_name():
    before, after = chat("user: Hi", functions=[]), chat("user: Hi", tools=[])
    assert difference(before, after) == "  user: Hi\n- functions: []\n+ tools: []"


def test_the_outputs_of_a_pair_are_told_apart():
    said = [{"role": "assistant", "content": "Yes."}]
    pair = {"input": chat("user: Is it?"), "preferred_output": said, "non_preferred_output": "No."}
    after = {**pair, "non_preferred_output": [{"role": "assistant", "content": "No."}]}
    assert difference(pair, after) == (
        "  preferred_output, assistant: Yes.\n"
        '- non_preferred_output: "No."\n'
        "+ non_preferred_output, assistant: No."
    )


def test_changes_that_are_far_apart_are_shown_apart():
    before = chat("user: a ", "assistant: b", "user: c", "assistant: d", "user: e ")
    after = chat("user: a", "assistant: b", "user: c", "assistant: d", "user: e")
    assert difference(before, after) == (
        "- user: a·\n+ user: a\n  assistant: b\n  …\n  assistant: d\n- user: e·\n+ user: e"
    )


def test_a_line_that_is_no_json_is_shown_as_it_stands():
    assert difference('{"messages": [],}\r\n', {"messages": []}) == '- {"messages": [],}\n+ {"messages": []}'


def test_facts_about_a_file_are_shown_by_their_name():
    before, after = {"encoding": "utf-16-le", "mark": True}, {"encoding": "utf-8", "mark": False}
    assert difference(before, after).splitlines() == [
        '- encoding: "utf-16-le"',
        "- mark: true",
        '+ encoding: "utf-8"',
        "+ mark: false",
    ]


def test_a_role_that_is_none_cannot_break_the_lines():
    message = {"role": "user\n+ assistant", "content": "Hi"}
    assert difference({"messages": [message]}, None) == (
        '- messages[0]: {"role": "user\\n+ assistant", "content": "Hi"}'
    )


def test_two_long_texts_are_shown_where_they_differ_and_whose_they_are():
    old, new = chat(f"assistant: {'word ' * 99}old"), chat(f"assistant: {'word ' * 99}new")
    assert difference(old, new) == (f"- assistant: …{'word ' * 8}old\n+ assistant: …{'word ' * 8}new")


def test_a_long_text_is_cut_to_what_differs_in_the_middle_of_it():
    text = "word " * 80
    before, after = chat(f"user: {text}mail x{text}"), chat(f"user: {text}mail [EMAIL_1]{text}")
    gone, come = difference(before, after).splitlines()
    assert gone == "- user: …" + ("word " * 80 + "mail ")[-40:] + "x" + ("word " * 80)[:40] + "…"
    assert come == "+ user: …" + ("word " * 80 + "mail ")[-40:] + "[EMAIL_1]" + ("word " * 80)[:40] + "…"


def test_personal_data_and_passwords_are_masked_in_what_is_kept():
    before = chat("user: I am at jane.miller@contoso.com or +49 30 901820", "assistant: Thanks. ")
    after = chat("user: I am at [EMAIL_1] or [PHONE_1]", "assistant: Thanks.")
    assert difference(before, after).splitlines()[0] == "- user: I am at ja••• or +4•••"
    assert "miller" not in difference(before, None)


def test_a_notebook_colours_the_lines_and_underlines_what_differs(unstyled):
    before, after = chat("user: Who?", "assistant: M<e>."), chat("user: Who?", "assistant: Me.")
    shown = unstyled(difference(before, after)._repr_html_())
    assert shown == (
        "<pre>  user: Who?\n<span>- assistant: M<u>&lt;e&gt;</u>.\n</span>"
        "<span>+ assistant: M<u>e</u>.\n</span></pre>"
    )
