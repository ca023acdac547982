"""Prompts: what is sent around a question."""

import pytest

from workbench.dataset.dataset import Dataset, Example
from workbench.errors import DataError
from workbench.evaluation.prompts import (
    AS_TRAINED,
    Documents,
    Gold,
    Passage,
    Prompt,
    gold_context,
    nearest,
    prompt_from,
    shots_from,
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
