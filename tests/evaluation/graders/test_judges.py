"""Graders that ask a model: what it is asked, and how its reply is read."""

import math

import pytest

from workbench.errors import DataError
from workbench.evaluation.graders.grades import NO_ERRORS
from workbench.evaluation.graders.grading import check_grader, graded
from workbench.evaluation.graders.judges import Judged, JudgeError, Reply

ITEM = {"question": "How many?", "answer": "42", "origin": "faq.csv:2"}


def score_model(**changes: object) -> dict[str, object]:
    plain = {
        "type": "score_model",
        "name": "close",
        "model": "gpt-4o",
        "input": [
            {"role": "system", "content": "Compare with {{item.answer}}."},
            {"role": "user", "content": [{"type": "input_text", "text": "Answer: {{ sample.output_text }}"}]},
        ],
    }
    return plain | changes


def label_model(**changes: object) -> dict[str, object]:
    plain = {
        "type": "label_model",
        "name": "verdict",
        "model": "gpt-4o",
        "input": [{"role": "user", "content": "Is {{sample.output_text}} right?"}],
        "labels": ["correct", "Not correct", "unsure"],
        "passing_labels": ["correct", "unsure"],
    }
    return plain | changes


def saying(text: str, refused: bool = False):
    return lambda judged: Reply(text, 12, refused)


# What it is asked


def test_the_judge_is_asked_with_filled_templates_and_told_the_form_of_its_reply():
    asked: list[Judged] = []

    def ask(judged: Judged) -> Reply:
        asked.append(judged)
        return Reply("5", 30)

    mine = score_model(range=[1, 5], sampling_params={"temperature": 0, "seed": 3})
    grade = graded(mine, "{{item.answer}} is 41", ITEM, ask=ask)
    assert asked == [
        Judged(
            "gpt-4o",
            (
                {"role": "system", "content": "Compare with 42."},
                {
                    "role": "user",
                    "content": "Answer: {{item.answer}} is 41\n\n"
                    'End your reply with a line "Score: N", where N is a number from 1 to 5.',
                },
            ),
            {"temperature": 0, "seed": 3},
        )
    ]
    assert (grade.score, grade.model, grade.tokens) == (5.0, "gpt-4o", {"gpt-4o": 30})
    assert grade.reason == "gpt-4o gave 5, on a scale from 1 to 5"


def test_after_an_assistant_s_turn_the_form_is_asked_for_in_a_message_of_its_own():
    asked: list[Judged] = []
    mine = label_model(input=[{"role": "assistant", "content": "{{sample.output_text}}"}])
    graded(mine, "x", ITEM, ask=lambda judged: asked.append(judged) or Reply("unsure"))
    assert asked[0].messages[-1] == {
        "role": "user",
        "content": 'End your reply with a line "Label: X", where X is one of: correct, Not correct, unsure.',
    }


def test_a_judge_without_anybody_to_ask_it_is_an_error_that_says_how():
    with pytest.raises(
        DataError, match="grader 'close' asks gpt-4o, and there is nobody to ask it; give ask="
    ):
        graded(score_model(), "x", ITEM)


# How a score is read


@pytest.mark.parametrize(
    ("said", "score"),
    [
        ("0.8", 0.8),
        (" **0.8** ", 0.8),
        ("1.", 1.0),
        ("Score: 0.8", 0.8),
        ("Of 3 facts, 2 are right.\nSo it is mostly true.\n\nScore: 0.7", 0.7),
        ("**Score:** 0.5\n\nReasoning: off by 2, expression valid", 0.5),
        ("Score: 0\nReasoning: none of the 6 numbers is used", 0.0),
        ("Final score = 1", 1.0),
        ('{"steps": [{"conclusion": "3 of 4"}], "result": 0.75}', 0.75),
        ('```json\n{"score": 1}\n```', 1.0),
        ("I would give it 0.9, because it is close.", 0.9),
        ("0.8/1", 0.8),
        ("0.25 out of 1", 0.25),
        (".5", 0.5),
        ("1e-1", 0.1),
    ],
)
def test_one_number_within_the_range_is_the_score(said, score):
    assert graded(score_model(), "x", ITEM, ask=saying(said)).score == score


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ("", "the judge's reply has no number: ''"),
        ("good", "the judge's reply has no number: 'good'"),
        ("between 0.2 and 0.4", "the judge's reply has 2 different numbers: 'between 0.2 and 0.4'"),
        ("Score: 0.2\nScore: 0.4", "the judge's reply has 2 different numbers: 'Score: 0.2\\nScore: 0.4'"),
        ("8/10", "the judge's reply has 2 different numbers: '8/10'"),
        ("80%", "the judge's reply has no number: '80%'"),
        ("0,8", "the judge's reply has no number: '0,8'"),
        ("7", "the judge gave 7, which is outside 0 to 1"),
        ("-0.1", "the judge gave -0.1, which is outside 0 to 1"),
        ('{"result": true}', "the judge's reply has no number: '{\"result\": true}'"),
        ('{"result": NaN}', "the judge gave nan, which is outside 0 to 1"),
        ("1e999", "the judge gave inf, which is outside 0 to 1"),
        ('{"score": 1' + "0" * 400 + "}", "the judge gave inf, which is outside 0 to 1"),
        ('{"score": -1' + "0" * 400 + "}", "the judge gave -inf, which is outside 0 to 1"),
    ],
)
def test_no_number_several_or_one_outside_the_range_is_no_score(said, problem):
    grade = graded(score_model(), "x", ITEM, ask=saying(said))
    assert math.isnan(grade.score)
    assert grade.problem == problem
    assert grade.errors == {**NO_ERRORS, "model_grader_parse_error": True}


def test_a_long_reply_is_read_in_a_moment_and_shown_cut():
    for text in ("\n" * 200_000, "* " * 100_000, "1" * 200_000, "score " * 50_000, " " * 200_000):
        assert len(graded(score_model(), "x", ITEM, ask=saying(text + "a b")).problem) < 1000


# How a label is read


@pytest.mark.parametrize(
    ("said", "label", "score"),
    [
        ("correct", "correct", 1.0),
        ("Correct.", "correct", 1.0),
        ("not correct", "Not correct", 0.0),
        ("I looked closely: it is not correct at all.\n\nLabel: correct", "correct", 1.0),
        ("**Label:** `Not correct`", "Not correct", 0.0),
        ("Hm.\nunsure", "unsure", 1.0),
        ("unsure\nThere is too little to go by.", "unsure", 1.0),
        ('{"label": "correct"}', "correct", 1.0),
    ],
)
def test_a_label_on_its_own_is_chosen(said, label, score):
    grade = graded(label_model(), "x", ITEM, ask=saying(said))
    assert grade.score == score
    assert grade.reason == f"gpt-4o chose {label!r}, which {'passes' if score else 'fails'}"


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("This is not correct.", "none of the labels correct, Not correct, unsure"),
        ("correct\nunsure", "2 labels"),
        ("Label: wrong", "none of the labels"),
        ("", "none of the labels"),
    ],
)
def test_a_label_inside_a_sentence_several_or_none_is_no_choice(said, told):
    grade = graded(label_model(), "x", ITEM, ask=saying(said))
    assert told in grade.problem
    assert grade.errors["model_grader_parse_error"] is True


# When the judge does not judge


@pytest.mark.parametrize("grader", [score_model(), label_model()])
@pytest.mark.parametrize(
    "reply",
    [
        Reply("", 3, refused=True),
        Reply("0.5", 3, refused=True),
        Reply("I'm sorry, but I can't help with that."),
        Reply("I cannot evaluate this content, point 7 of my rules."),
        Reply("As an AI, I have no opinion."),
    ],
)
def test_a_refusal_is_no_score(grader, reply):
    grade = graded(grader, "x", ITEM, ask=lambda judged: reply)
    assert grade.problem.startswith("the judge refused")
    assert grade.errors == {**NO_ERRORS, "model_grader_refusal_error": True}


def test_a_judge_that_cannot_be_asked_is_told_with_its_reason():
    def ask(judged: Judged) -> Reply:
        raise JudgeError("the service had no time (503)")

    grade = graded(score_model(), "x", ITEM, ask=ask)
    assert (grade.problem, grade.model) == ("the service had no time (503)", "gpt-4o")
    assert grade.errors["model_grader_server_error_details"] == "the service had no time (503)"


def test_any_other_error_of_the_one_who_asks_passes_through():
    def ask(judged: Judged) -> Reply:
        raise KeyError("a mistake in ask")

    with pytest.raises(KeyError):
        graded(score_model(), "x", ITEM, ask=ask)


def test_an_answer_that_is_not_the_json_it_should_be_gets_the_lowest_score_and_asks_nobody():
    mine = score_model(input=[{"role": "user", "content": "{{sample.output_json.n}}"}], range=[1, 5])
    grade = graded(mine, "no json", ITEM, ask=lambda judged: pytest.fail("asked"))
    assert (grade.score, grade.errors["sample_parse_error"]) == (1.0, True)


def test_judges_inside_a_multi_grader_are_asked_and_their_tokens_added():
    mine = {
        "type": "multi",
        "name": "both",
        "graders": {"score": score_model(), "verdict": label_model()},
        "calculate_output": "score * verdict",
    }
    check_grader(mine, [ITEM])
    grade = graded(
        mine,
        "x",
        ITEM,
        ask=lambda judged: Reply("0.5" if "Score" in judged.messages[-1]["content"] else "correct", 7),
    )
    assert (grade.score, grade.tokens, grade.model) == (0.5, {"gpt-4o": 14}, "gpt-4o")


# What is wrong with such a grader


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        (score_model(model=""), "grader.model is ''"),
        (score_model(input="Rate {{sample.output_text}}"), "grader.input is the list of messages"),
        (score_model(input=[]), "grader.input is the list of messages"),
        (
            score_model(input=[{"role": "judge", "content": "x"}]),
            r"grader.input\[0\].role is one of system, dev",
        ),
        (
            score_model(input=[{"role": "user"}]),
            r"grader.input\[0\].content is a text or a list of text parts",
        ),
        (
            score_model(input=[{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]),
            "judges here read text only",
        ),
        (
            score_model(input=[{"role": "user", "content": "{{sample.txt}}"}]),
            r"grader.input\[0\].content has the",
        ),
        (score_model(range=[1]), r"grader.range is \[1\]; write \[lowest, highest\]"),
        (score_model(range=[1, 1]), "grader.range"),
        (score_model(range=[0, float("nan")]), "grader.range"),
        (score_model(range=[True, 2]), "grader.range"),
        (score_model(sampling_params=[1]), "grader.sampling_params is an object"),
        (label_model(labels=["yes"]), "grader.labels is a list of two or more texts"),
        (label_model(labels=["yes", "Yes"]), "grader.labels is a list of two or more texts that differ"),
        (label_model(labels="yes no"), "grader.labels"),
        (label_model(passing_labels=[]), "grader.passing_labels is empty; name those of correct"),
        (label_model(passing_labels=["good"]), "grader.passing_labels has 'good', which is no label"),
    ],
)
def test_a_broken_judge_is_told_with_its_place(broken, told):
    with pytest.raises(DataError, match=told):
        check_grader(broken)


def test_the_items_are_checked_for_the_messages_to_a_judge():
    with pytest.raises(DataError, match=r"\{\{item.answer\}\} finds nothing in item faq.csv:3"):
        check_grader(score_model(), [{"origin": "faq.csv:3"}])


def test_a_judge_s_thinking_text_is_not_read():
    ask = saying("<think>Maybe 2, maybe 3.</think>Score: 4")
    assert graded(score_model(range=[1, 5]), "41", ITEM, ask=ask).score == 4.0
