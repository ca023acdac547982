"""What a change looks like: legible to a person, and nothing in it that a terminal obeys."""

from workbench.dataset.diff import difference


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
