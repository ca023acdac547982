"""Charts of scores: pass rates over prompts, and models side by side."""

import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import pytest
from made_evaluations import evaluation

from workbench.errors import DataError
from workbench.evaluation.evaluation import Evaluation, Item
from workbench.evaluation.graders.ready_made import grader
from workbench.evaluation.pass_rates import pass_rates
from workbench.evaluation.prompts import AS_TRAINED
from workbench.evaluation.requests import Answer
from workbench.widgets.score_charts import pass_rate_chart, score_chart

RIGHT = (0, 2, 2, 4)
ITEMS = tuple(
    Item(
        f"i{n}",
        f"t.csv:{n}",
        "Q<?>",
        "A",
        tuple(Answer("a", "stop", 0.1, 5, 1, score=float(sample < right)) for sample in range(4)),
    )
    for n, right in enumerate(RIGHT)
)
RATES = pass_rates(Evaluation("nano", AS_TRAINED, grader("exact"), ITEMS, 32, 1.0))


def test_the_histogram_has_a_bar_a_rate_and_marks_both_ends_without_colour_alone():
    (bars,) = pass_rate_chart(RATES).figure.data
    assert list(bars.x) == ["0 %", "25 %", "50 %", "75 %", "100 %"]
    assert list(bars.y) == [1, 0, 2, 0, 1]
    assert list(bars.marker.pattern.shape) == ["/", "", "", "", "/"]


def test_without_a_front_end_it_is_a_picture_with_the_same_numbers():
    shown = pass_rate_chart(RATES)._repr_mimebundle_()
    drawing = ElementTree.fromstring(shown["image/svg+xml"])
    written = [part.text for part in drawing.iter("{http://www.w3.org/2000/svg}text")]
    assert written[0] == "Reinforcement can start"
    assert written[1].startswith("Of 4 prompts 1 never pass and 1 always do (orange); 2 lie in between")
    assert shown["text/plain"].splitlines()[2:] == [
        "  0 % pass: 1 prompts",
        " 50 % pass: 2 prompts",
        "100 % pass: 1 prompts",
    ]


def test_models_stand_side_by_side_with_their_intervals():
    shown = score_chart({"base": evaluation("1000"), "rft <1>": evaluation("1110", "rft")})
    assert repr(shown).splitlines() == [
        "Score by exact on 4 questions, with its 95 % interval",
        "base: 25.0 % (5–70 %)",
        "rft <1>: 75.0 % (30–95 %)",
    ]
    base, tuned = shown.figure.data
    assert (base.x[0], tuned.x[0]) == (0.25, 0.75)
    assert base.marker.symbol != tuned.marker.symbol
    assert "rft &lt;1&gt;" in shown._repr_mimebundle_()["image/svg+xml"]
    ElementTree.fromstring(shown._repr_mimebundle_()["image/svg+xml"])


def test_models_that_answered_other_questions_are_not_set_side_by_side():
    with pytest.raises(DataError, match="other questions or graders"):
        score_chart({"base": evaluation("1000"), "tuned": evaluation("100")})
    other = replace(evaluation("1000"), grader=grader("normalised"))
    with pytest.raises(DataError, match="other questions or graders"):
        score_chart({"base": evaluation("1000"), "tuned": other})
    with pytest.raises(DataError, match="no evaluation to show"):
        score_chart({})
