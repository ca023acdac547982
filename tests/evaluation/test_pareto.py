"""Quality against cost: who dominates whom, what a step costs, and the chart that shows it."""

import xml.etree.ElementTree as ET
from dataclasses import replace
from itertools import pairwise

import pytest

from tests.evaluation.test_preferences import PROMPT
from workbench.errors import DataError
from workbench.evaluation.evaluation import Evaluation, Item
from workbench.evaluation.graders.ready_made import grader
from workbench.evaluation.pareto import Field, field
from workbench.evaluation.prompts import Prompt
from workbench.evaluation.requests import Answer
from workbench.widgets.cost_charts import quality_cost


def scored(
    model: str, right: int, *, of: int = 100, seconds: float = 0.5, tokens: int = 90, prompt: Prompt = PROMPT
) -> Evaluation:
    items = [
        Item(
            f"q{n}",
            f"f:{n}",
            f"Question {n}?",
            "Yes.",
            (Answer("Yes.", "stop", seconds, tokens, 10, score=float(n < right)),),
        )
        for n in range(of)
    ]
    return Evaluation(model, prompt, grader("exact"), tuple(items), 64, 0.0)


LONG = Prompt("few-shot", system="You answer briefly.")
BASE, TUNED, LARGE = scored("small", 60), scored("small.ft-1", 90), scored("large", 85)
COSTS = {"base": 0.001, "tuned": 0.002, "large": 0.02}


@pytest.fixture
def shop() -> Field:
    return field({"base": BASE, "tuned": TUNED, "large": LARGE}, costs=COSTS)


def names(found: object) -> list[str]:
    return [candidate.name for candidate in found]


def test_what_another_beats_in_score_and_price_is_dominated(shop):
    assert names(shop.frontier) == ["base", "tuned"]
    assert shop.sentences == (
        "From base to tuned: 30.0 points more, at $2.00 in place of $1.00.",
        "large is dominated by tuned: 85.0 % at $20.00 against 90.0 % at $2.00; "
        "their intervals overlap, so compare the two before you drop it.",
    )


def test_equals_do_not_dominate_each_other():
    same = field({"one": TUNED, "other": TUNED}, costs={"one": 0.1, "other": 0.1})
    assert names(same.frontier) == ["one", "other"]
    assert field({"one": TUNED, "other": TUNED}, costs={"one": 0.1, "other": 0.2}).sentences == (
        "one is the best and the cheapest ($100.00).",
        "other is dominated by one: 90.0 % at $200.00 against 90.0 % at $100.00.",
    )


def test_each_candidate_is_taken_with_its_own_best_prompt():
    engineered = scored("small", 80, prompt=LONG)
    found = field({"base": [BASE, engineered], "tuned": TUNED}, costs={"base": 0.001, "tuned": 0.002})
    best = found.candidates[0]
    assert (best.evaluation.prompt.name, best.tried) == ("few-shot", 2)
    assert found.sentences[-1].startswith(
        "base is the best of 2 prompts tried on these questions, so its score"
    )
    assert "few-shot, best of 2" in found._repr_html_()


def test_costs_come_from_the_catalogue_for_a_service_that_has_prices():
    cheap, dear = scored("gpt-4.1-nano", 60), scored("gpt-4.1", 80)
    found = field({"nano": cheap, "4.1": dear}, service="openai")
    assert found.against == "cost"
    assert names(found.frontier) == ["nano", "4.1"]


def test_where_costs_are_not_known_or_all_zero_it_is_what_one_waits_for():
    slow = scored("large", 85, seconds=2.0)
    assert field({"base": BASE, "large": slow}).against == "tokens"
    assert field({"base": BASE, "large": slow}, service="local").against == "tokens"


def test_a_candidate_without_a_price_is_named_and_left_out_of_the_chart():
    found = field({"base": BASE, "tuned": TUNED}, costs={"base": 0.001}, against="cost")
    assert names(found.placed) == ["base"]
    assert found.sentences[-1] == (
        "tuned has no known cost and is not in the chart; "
        'give it as costs={"tuned": …}, in US dollars a request.'
    )
    assert "price not known" in found._repr_html_()


def test_the_table_has_every_number(shop, unstyled):
    html = unstyled(shop._repr_html_())
    assert (
        '<th scope="row">tuned</th><td>small.ft-1</td><td>as trained</td><td>90.0 %</td><td>83–94 %</td>'
        "<td>90</td><td>10</td><td>$2.00</td><td>0.50 s</td><td>0.50 s</td><td>on the frontier</td>"
    ) in html
    assert "<td>dominated by tuned</td>" in html


@pytest.mark.parametrize(
    ("candidates", "options", "message"),
    [
        ({}, {}, "There is no candidate"),
        ({"base": BASE, "few": scored("small", 5, of=10)}, {}, "answered different questions"),
        ({"base": BASE}, {"costs": {"bse": 1.0}}, "There is no candidate 'bse'; there are base"),
        ({"base": BASE}, {"costs": {"base": -1.0}}, "The cost of base is -1.0; give US dollars a request"),
        ({"base": BASE}, {"against": "price"}, "There is no axis 'price'; there are cost, seconds, tokens"),
        ({"base": []}, {}, "base has no evaluation with a score"),
        ({"base": BASE, "tuned": replace(TUNED, grader=grader("contains"))}, {}, "graded by different gra"),
    ],
)
def test_what_cannot_be_set_side_by_side_is_refused(candidates, options, message):
    with pytest.raises(DataError, match=message):
        field(candidates, **options)


# The chart

SVG = "{http://www.w3.org/2000/svg}"


def words(picture: str) -> list[str]:
    return ["".join(text.itertext()) for text in ET.fromstring(picture).iter(f"{SVG}text")]


def places(picture: str) -> list[tuple[float, float]]:
    """Where words stand: none may lie on others."""
    return [
        (float(text.get("x")), float(text.get("y"))) for text in ET.fromstring(picture).iter(f"{SVG}text")
    ]


def test_the_chart_names_each_candidate_beside_the_plot_the_best_first(shop):
    drawn = words(quality_cost(shop).svg)
    named = [word for word in drawn if "(" in word]
    assert named == ["tuned  90.0 % (83 to 94)", "large  85.0 % (77 to 91)", "base  60.0 % (50 to 69)"]
    assert "$2.00, on the frontier" in drawn
    assert "$20.00, dominated by tuned" in drawn
    assert drawn[0] == "Score, with its 95 % interval, against US dollars for 1,000 requests"


def test_no_name_lies_on_another_however_close_the_candidates_are():
    close = {name: scored("small", 60 + n) for n, name in enumerate(("one", "two", "three", "four"))}
    beside = [place for place in places(quality_cost(field(close)).svg) if place[0] > 352]
    tops = sorted(y for _, y in beside)
    assert len(tops) == 8
    assert min(later - earlier for earlier, later in pairwise(tops)) >= 16


def test_low_scores_fill_the_height_and_the_axis_begins_at_0():
    drawn = words(quality_cost(field({"base": scored("small", 2)})).svg)
    assert {"0 %", "10 %"} <= set(drawn)
    assert "100 %" not in drawn


def test_what_the_cheapest_loses_is_said_below(shop):
    below = quality_cost(shop).below
    assert "base costs least and answers worse than tuned: 60.0 % against 90.0 %." in below
    alone = quality_cost(field({"a": TUNED, "b": BASE}, costs={"a": 0.1, "b": 0.2}))
    assert "costs least" not in alone.below


def test_prices_far_apart_are_drawn_logarithmically():
    far = quality_cost(field({"base": BASE, "large": TUNED}, costs={"base": 0.0001, "large": 0.01}))
    assert {"$0.1", "$1", "$10"} <= set(words(far.svg))


def test_names_are_escaped_everywhere():
    found = quality_cost(field({"<b>&\x00": BASE, "tuned": TUNED}, costs={"<b>&\x00": 0.1, "tuned": 0.2}))
    assert "<b>" not in found._repr_mimebundle_()["text/html"]
    assert any(word.startswith("<b>&  60.0 %") for word in words(found.svg))


def test_it_is_a_picture_with_folded_numbers_and_words(shop):
    bundle = quality_cost(shop)._repr_mimebundle_()
    assert set(bundle) == {"image/svg+xml", "text/html", "text/plain"}
    assert (
        f"<summary>The numbers, and what each step costs</summary>{shop._repr_html_()}" in bundle["text/html"]
    )
    assert "large is dominated by tuned" in bundle["text/plain"]


def test_without_any_price_nothing_is_drawn_and_the_words_say_so():
    chart = quality_cost(field({"base": BASE}, against="cost"))
    assert "base  60.0 %" not in " ".join(words(chart.svg))
    assert repr(chart).startswith("base has no known cost and is not in the chart")
