"""Prompts: what is sent around a question."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from workbench.dataset.dataset import Dataset, Example
from workbench.errors import DataError
from workbench.evaluation.compare import contaminated
from workbench.evaluation.prompts import (
    AS_TRAINED,
    PASSAGE,
    Documents,
    Gold,
    Passage,
    Prompt,
    answered_by,
    gold_context,
    nearest,
    prompt_from,
    questions_alone,
    read_documents,
    shots_from,
    shots_of_each_answer,
    with_references,
)


def example(question: str, answer: str, system: str | None = "Always return GQL.") -> Example:
    turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    first = [] if system is None else [{"role": "system", "content": system}]
    return Example(messages=(*first, *turns), origin="faq.csv:2")


ASKED = example("Late orders?", "orders -> all")


def test_as_trained_sends_the_examples_own_system_message_and_question():
    assert AS_TRAINED.messages(ASKED) == [
        {"role": "system", "content": "Always return GQL."},
        {"role": "user", "content": "Late orders?"},
    ]


def test_an_engineered_prompt_takes_the_place_of_the_system_message():
    assert Prompt("engineered", system="Long rules.").messages(ASKED) == [
        {"role": "system", "content": "Long rules."},
        {"role": "user", "content": "Late orders?"},
    ]


def test_an_engineered_prompt_is_added_where_there_was_no_system_message():
    sent = Prompt("engineered", system="Rules.").messages(example("Why?", "So.", system=None))
    assert [message["role"] for message in sent] == ["system", "user"]


def test_an_empty_system_text_sends_none():
    assert Prompt("bare", system="").messages(ASKED) == [{"role": "user", "content": "Late orders?"}]


def test_shots_are_questions_and_answers_before_the_question():
    shown = Prompt("few-shot", shots=(example("A?", "a"), example("B?", "b", system="Other."))).messages(
        ASKED
    )
    assert [(message["role"], message["content"]) for message in shown] == [
        ("system", "Always return GQL."),
        ("user", "A?"),
        ("assistant", "a"),
        ("user", "B?"),
        ("assistant", "b"),
        ("user", "Late orders?"),
    ]


def test_the_answer_and_training_weights_are_never_sent():
    turns = (
        {"role": "user", "content": "A?"},
        {"role": "assistant", "content": "a", "weight": 0},
        {"role": "user", "content": "B?"},
        {"role": "assistant", "content": "b", "weight": 1},
    )
    assert AS_TRAINED.messages(Example(messages=turns, origin="chat.jsonl:1")) == [
        {"role": "user", "content": "A?"},
        {"role": "assistant", "content": "a"},
        {"role": "user", "content": "B?"},
    ]


def test_examples_that_were_looked_up_stand_behind_the_fixed_ones():
    pool = Dataset("train.csv", (example("Late parcels?", "p"), example("Early birds?", "b")))
    prompt = Prompt("retrieved", shots=(example("A?", "a"),), nearest=nearest(pool, 1))
    assert [message["content"] for message in prompt.messages(ASKED)] == [
        "Always return GQL.",
        "A?",
        "a",
        "Late parcels?",
        "p",
        "Late orders?",
    ]


def test_passages_stand_in_the_questions_own_message():
    documents = Documents((Passage("Orders are {late} after noon.", "a"), Passage("Cards.", "b")))
    assert Prompt("documents", system="Rules.", context=documents).messages(ASKED) == [
        {"role": "system", "content": "Rules."},
        {
            "role": "user",
            "content": "Answer with the help of this:\n\nOrders are {late} after noon.\n\n"
            "The question:\n\nLate orders?",
        },
    ]


def test_where_nothing_is_found_the_question_is_asked_as_it_is():
    documents = Documents((Passage("Cards.", "b"),))
    assert Prompt("documents", context=documents).messages(ASKED) == AS_TRAINED.messages(ASKED)


def test_a_question_with_an_image_keeps_its_parts():
    image = {"type": "image_url", "image_url": {"url": "data:,"}}
    turns = (
        {"role": "user", "content": [image, {"type": "text", "text": "Late?"}]},
        {"role": "assistant", "content": "Yes."},
    )
    seen = Example(turns, "a:1", metadata={"passage": "By noon."})
    [message] = Prompt("gold", context=Gold("passage")).messages(seen)
    first, *parts = message["content"]
    assert first == {
        "type": "text",
        "text": "Answer with the help of this:\n\nBy noon.\n\nThe question:\n\n",
    }
    assert parts == turns[0]["content"]


def test_the_right_passage_takes_the_place_of_those_looked_up_and_all_else_stays():
    documents = Documents((Passage("Cards.", "b"),))
    best = Prompt("documents", system="Rules.", shots=(example("A?", "a"),), context=documents)
    assert gold_context(best, "passage") == Prompt(
        "gold context", system="Rules.", shots=(example("A?", "a"),), context=Gold("passage")
    )


@pytest.mark.parametrize(
    "facts", [{}, {"name": "x", "system": None, "shots": [1]}, {"name": "x", "system": ""}]
)
def test_what_is_no_prompt_is_refused(facts):
    with pytest.raises((KeyError, TypeError)):
        prompt_from(facts)


def test_shots_may_be_given_as_a_dataset():
    shots = Dataset("faq.csv", (example("A?", "a"),))
    assert Prompt("few-shot", shots=shots) == Prompt("few-shot", shots=(example("A?", "a"),))


def test_a_prompt_shows_itself_escaped():
    page = Prompt("few-shot", system="<b>Rules</b>", shots=(example("A < B?", "a"),))._repr_html_()
    assert "&lt;b&gt;Rules&lt;/b&gt;" in page
    assert "A &lt; B?" in page
    assert "<caption" in page
    assert '<th scope="row"' in page


TRAINING = Dataset("train.csv", tuple(example(f"Q{n}?", "x" * n) for n in range(1, 41)))


def test_shots_are_spread_from_short_answers_to_long_ones():
    lengths = [len(shot.answer) for shot in shots_from(TRAINING, 4)]
    assert [(length - 1) // 10 for length in lengths] == [0, 1, 2, 3]


def test_the_same_seed_chooses_the_same_shots_and_another_seed_others():
    assert shots_from(TRAINING, 4, seed=1) == shots_from(TRAINING, 4, seed=1)
    assert shots_from(TRAINING, 4, seed=1) != shots_from(TRAINING, 4, seed=2)


def test_no_shot_asks_a_question_of_the_test_set():
    test = Dataset("test.csv", tuple(example(f" Q{n}? ", "other") for n in range(1, 37)))
    assert [shot.question for shot in shots_from(TRAINING, 4, test=test)] == ["Q37?", "Q38?", "Q39?", "Q40?"]


def test_more_shots_than_examples_are_refused():
    with pytest.raises(DataError, match=r"train.csv has 40 examples .* and 41 shots were asked for"):
        shots_from(TRAINING, 41)


def test_no_shots_are_no_examples():
    assert shots_from(TRAINING, 0) == ()


# What is looked up for a question: examples like it, passages of documents, the right passage.


def asked(question: str, answer: str = "So.", **metadata: object) -> Example:
    turns = ({"role": "user", "content": question}, {"role": "assistant", "content": answer})
    return Example(turns, f"faq.csv:{question}", metadata=metadata)


FAQ = Dataset(
    "faq.csv",
    (
        asked("How do I return a parcel?"),
        asked("Where is my parcel from Köln?"),
        asked("How do I pay by card?"),
        asked("Which card do you take?"),
    ),
)


def questions(found: tuple[Example, ...]) -> list[str]:
    return [example.question for example in found]


def test_the_examples_most_like_the_question_are_found_the_most_alike_last():
    found = nearest(FAQ, 2).shots(asked("Can I pay with this card?"))
    assert questions(found) == ["Which card do you take?", "How do I pay by card?"]


def test_case_and_accents_of_other_languages_make_words_too():
    assert questions(nearest(FAQ, 1).shots(asked("KÖLN?"))) == ["Where is my parcel from Köln?"]


def test_the_very_question_is_never_shown_with_its_answer():
    found = nearest(FAQ, 4).shots(asked("  how do I return a  PARCEL? "))
    assert sorted(questions(found)) == sorted(questions(FAQ.examples[1:]))


def test_no_example_whose_question_is_tested_is_shown_for_any_question():
    test = Dataset("test.csv", (asked("WHICH card do you take?"), asked("Card?")))
    assert questions(nearest(FAQ, 4, test=test).shots(test[1])) == ["How do I pay by card?"]


def test_a_question_without_a_known_word_finds_nothing():
    assert nearest(FAQ, 3).shots(asked("Warum?")) == ()
    assert nearest(FAQ, 3).shots(asked("")) == ()


def test_of_equally_good_ones_the_first_is_taken_every_time():
    same = Dataset("same.csv", tuple(asked(f"{word} parcel") for word in ("red", "blue", "green")))
    assert [questions(nearest(same, 2).shots(asked("my parcel"))) for _ in range(3)] == 3 * [
        ["blue parcel", "red parcel"]
    ]


def test_examples_without_an_answer_are_none_to_show():
    prompts = Dataset("rft.jsonl", (Example(({"role": "user", "content": "Why?"},), "rft.jsonl:1"),))
    with pytest.raises(DataError, match=r"rft.jsonl has no example to show"):
        nearest(prompts, 1)
    with pytest.raises(DataError, match=r"faq.csv has no example to show: none with an answer whose"):
        nearest(FAQ, 1, test=FAQ)
    with pytest.raises(DataError, match="0 examples are none to look up; ask for 1 or more"):
        nearest(FAQ, 0)


def test_passages_are_found_by_the_words_they_share_with_the_question():
    shop = Documents((Passage("Parcels arrive by noon.", "a"), Passage("We take any card.", "b")), k=2)
    assert shop.texts(asked("Which card?")) == ("We take any card.",)
    assert shop.texts(asked("What?")) == ()


def test_documents_without_any_word_find_nothing():
    assert Documents((Passage("…", "a"),)).texts(asked("Which card?")) == ()


def test_the_right_passage_comes_from_a_column_of_the_test():
    assert Gold("passage").texts(asked("?", passage="By noon.")) == ("By noon.",)
    assert Gold("passage").texts(asked("?", passage=["By", "noon."])) == ("By", "noon.")


def test_a_missing_or_empty_passage_is_told_with_its_row():
    with pytest.raises(DataError, match=r"faq.csv:\? has no column 'passage'; it has text, kind"):
        Gold("passage").texts(asked("?", text="By noon.", kind="x"))
    for wrong in ("", " ", 7, None, [], ["", "noon"]):
        with pytest.raises(DataError, match=r"faq.csv:\?: passage is .*; it should be the passage with"):
            Gold("passage").texts(asked("?", passage=wrong))


def test_a_folder_of_texts_is_read_at_any_depth_and_in_order(tmp_path: Path):
    (tmp_path / "b.md").write_text("Second.")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "first.TXT").write_bytes("Grüße.".encode("utf-16"))
    (tmp_path / "a" / "empty.txt").write_text(" \n")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG")
    assert read_documents(tmp_path).passages == (
        Passage("Grüße.", "a/first.TXT:1"),
        Passage("Second.", "b.md:1"),
    )


def test_a_long_text_is_cut_at_blank_lines_and_every_passage_knows_its_line(tmp_path: Path):
    (tmp_path / "long.md").write_text("\r\n\r\n".join(("a" * 700, "b" * 400, "c" * 400)), newline="")
    found = read_documents(tmp_path / "long.md").passages
    assert [(each.text[0], len(each.text), each.origin) for each in found] == [
        ("a", 700 + 2 + 400, "long.md:1"),
        ("c", 400, "long.md:5"),
    ]


def test_a_text_without_blank_lines_is_cut_between_words_and_loses_none(tmp_path: Path):
    words = [f"word{number}" for number in range(1_000)]
    (tmp_path / "wall.txt").write_text(" ".join(words))
    found = [each.text for each in read_documents(tmp_path / "wall.txt").passages]
    assert max(map(len, found)) <= PASSAGE
    assert " ".join(found).split() == words


def test_one_endless_word_is_cut_all_the_same(tmp_path: Path):
    (tmp_path / "wall.txt").write_text("\n\n" + "x" * 3_000)
    assert [len(each.text) for each in read_documents(tmp_path / "wall.txt").passages] == [1_198, 1_200, 602]


def test_a_row_of_a_table_is_a_passage(tmp_path: Path):
    (tmp_path / "kb.csv").write_text('id;content\n1;"By noon;\nor later."\n2;Any card.\n')
    assert read_documents(tmp_path / "kb.csv").passages == (
        Passage("By noon;\nor later.", "kb.csv:2"),
        Passage("Any card.", "kb.csv:4"),
    )
    (tmp_path / "kb.jsonl").write_text(json.dumps({"text": "title", "note": "Any card."}) + "\n\n")
    assert read_documents(tmp_path / "kb.jsonl", column="note").passages == (
        Passage("Any card.", "kb.jsonl:1"),
    )


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("kb.csv", "id,note\n1,x\n", r"kb.csv line 2 has no text or content or .*; it has id, note\."),
        ("kb.csv", "id,text\n1,\n", r"kb.csv line 2: text is ''; it should be a text\."),
        ("kb.csv", "id,text\n", r"kb.csv holds no text; documents are"),
        ("kb.jsonl", '["text"]\n', r"kb.jsonl line 1 is no object"),
        ("kb.jsonl", '{"text": 7}\n', r"kb.jsonl line 1: text is 7; it should be a text\."),
        ("kb.jsonl", '{"text": \n', r"kb.jsonl line 1: not JSON"),
        ("kb.txt", "\n", r"kb.txt holds no text"),
        ("kb.pdf", "%PDF-", r"kb.pdf is neither a folder nor a file that can be read \(.md, .txt, .csv"),
    ],
)
def test_what_holds_no_documents_is_refused_by_name(tmp_path: Path, name: str, content: str, told: str):
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=told):
        read_documents(tmp_path / name)


def test_a_missing_file_an_empty_folder_and_no_passages_are_told(tmp_path: Path):
    with pytest.raises(DataError, match=r"none.txt does not exist"):
        read_documents(tmp_path / "none.txt")
    with pytest.raises(DataError, match=r"holds no text; documents are .md and .txt files"):
        read_documents(tmp_path)
    with pytest.raises(DataError, match="0 passages are none to look up"):
        read_documents(tmp_path, k=0)


def test_documents_say_how_many_they_are():
    assert repr(Documents((Passage("By noon.", "a.md:1"),))) == "the 3 best of 1 passage"


def test_shots_of_each_answer_show_every_label_before_any_twice():
    rows = Dataset("teams", tuple(example(f"q{n}", "abc"[n % 3] if n < 9 else "d") for n in range(10)))
    assert sorted(shot.answer for shot in shots_of_each_answer(rows, 4)) == ["a", "b", "c", "d"]
    assert sorted(shot.answer for shot in shots_of_each_answer(rows, 6)) in (
        [["a", "a", "b", "b", "c", "d"], ["a", "a", "b", "c", "c", "d"], ["a", "b", "b", "c", "c", "d"]]
    )
    assert "d" not in {shot.answer for shot in shots_of_each_answer(rows, 3)}  # the rarest comes last
    assert shots_of_each_answer(rows, 4, seed=1) != shots_of_each_answer(rows, 4)
    assert shots_of_each_answer(rows, 0) == ()
    tested = Dataset("test", tuple(rows)[:9])
    with pytest.raises(DataError, match="has 1 examples whose question is not in the test set"):
        shots_of_each_answer(rows, 2, test=tested)


# Prompts for reinforcement


def tickets(*rows: dict[str, str]) -> Dataset:
    examples = (
        Example(
            ({"role": "user", "content": row["ticket"]}, {"role": "assistant", "content": row["answer"]}),
            f"tickets.csv:{n}",
            metadata={key: value for key, value in row.items() if key not in ("ticket", "answer")},
        )
        for n, row in enumerate(rows, 2)
    )
    return Dataset("tickets.csv", tuple(examples))


TICKETS = tickets(
    {"ticket": "Where is my parcel?", "answer": "Soon there.", "team": "shipping", "Order no.": "7"},
    {"ticket": "I paid twice.", "answer": "Sorry!", "team": "billing", "Order no.": "8"},
)


def test_a_prompt_ends_with_the_user_and_carries_its_columns_beside_it():
    (row, _) = with_references(TICKETS)
    assert row.method == "rft"
    assert row.wire == {
        "messages": ({"role": "user", "content": "Where is my parcel?"},),
        "team": "shipping",
        "question": "Where is my parcel?",
        "answer": "Soon there.",
    }
    assert with_references(TICKETS).notes == (
        "the column 'Order no.' is left out, as no template can name it",
    )


def test_another_column_can_be_the_answer():
    (row, _) = with_references(answered_by(TICKETS, "team"))
    assert (row.more["answer"], row.more["team"]) == ("shipping", "shipping")
    assert answered_by(TICKETS, None) is TICKETS


def test_what_the_prompt_shows_is_no_prompt_itself():
    short = answered_by(TICKETS, "team")
    rows = with_references(short, Prompt("shown", system="One word.", shots=short[:1]))
    assert [row.origin for row in rows] == ["tickets.csv:3"]
    assert rows[0].messages == (
        {"role": "system", "content": "One word."},
        {"role": "user", "content": "Where is my parcel?"},
        {"role": "assistant", "content": "shipping"},
        {"role": "user", "content": "I paid twice."},
    )
    assert rows.notes[0] == "1 example left out, as every prompt shows them"
    with pytest.raises(DataError, match="show fewer"):
        with_references(short, Prompt("shown", shots=short))


def test_a_test_in_a_file_of_the_same_name_keeps_its_rows():
    test = tickets({"ticket": "Is it waterproof?", "answer": "Yes.", "team": "products"})
    shown = Prompt("shown", shots=answered_by(TICKETS, "team")[:1])
    assert test[0].origin == shown.shots[0].origin
    assert [row.more["question"] for row in with_references(test, shown)] == ["Is it waterproof?"]


def test_prompts_are_compared_by_their_questions_alone():
    short = answered_by(TICKETS, "team")
    (rows,) = questions_alone(with_references(short, Prompt("shown", system="One word.", shots=short[:1])))
    assert rows[0].messages == ({"role": "user", "content": "I paid twice."},)
    assert (rows[0].more["team"], rows[0].origin) == ("billing", "tickets.csv:3")
    many = Dataset("many", tuple(example(f"May I ask {w} of {w}?", w) for w in ("red", "blue", "green")))
    shown = (replace(example(f"What about {n} and {n + 1}?", str(n)), origin=f"s:{n}") for n in range(30))
    shots = Prompt("shown", shots=tuple(shown))
    test = Dataset("test", (replace(example("Where is the post office?", "x"), origin="t:1"),))
    assert contaminated(with_references(test, shots), with_references(many, shots)) == {"t:1"}
    alone = questions_alone(*(with_references(each, shots) for each in (test, many)))
    assert contaminated(*alone) == frozenset()


def test_a_conversation_keeps_its_turns_when_it_is_compared():
    said = [
        ("My order is late.", "Which one?", "The red one."),
        ("I want my money back.", "Which one?", "The red one."),
    ]
    roles = ("user", "assistant", "user")
    talks = [[{"role": r, "content": t} for r, t in zip(roles, each, strict=True)] for each in said]
    shown = ({"role": "system", "content": "Be kind."}, *example("Shown?", "yes").messages)
    rows = Dataset("talks", tuple(Example((*shown, *talk), f"t:{n}") for n, talk in enumerate(talks)))
    (alone,) = questions_alone(rows)
    assert [list(row.messages) for row in alone] == talks


def test_a_row_without_a_field_that_is_needed_is_named():
    rows = tickets({"ticket": "A?", "answer": "a", "team": "x"}, {"ticket": "B?", "answer": "b", "team": ""})
    with pytest.raises(DataError, match=r"tickets.csv:3 has no 'team' for the grader to read; it has"):
        with_references(rows, fields=["team"])
    with pytest.raises(DataError, match=r"tickets.csv:3: team is ''"):
        answered_by(rows, "team")
    assert [sorted(row.more) for row in with_references(rows)] == [
        ["answer", "question", "team"],
        ["answer", "question"],
    ]
