"""Charts of scores, slices, failures, probes and pairs: what is drawn, and the same in words."""

import re
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest
from made_evaluations import evaluation, in_clusters

from workbench.dataset.dataset import Dataset, Example
from workbench.evaluation.compare import compare
from workbench.evaluation.evaluate import questions
from workbench.evaluation.evaluation import Evaluation, Item
from workbench.evaluation.failures import Failed, Failures, Label
from workbench.evaluation.graders.ready_made import grader
from workbench.evaluation.model_comparison import compare_models
from workbench.evaluation.pass_rates import pass_rates
from workbench.evaluation.probes import forgotten
from workbench.evaluation.prompts import AS_TRAINED, Prompt
from workbench.evaluation.requests import Answer
from workbench.evaluation.slices import Confusion, Slices, slices
from workbench.widgets.score_charts import (
    comparison_chart,
    failure_chart,
    length_chart,
    matrix,
    pass_rate_chart,
    probe_chart,
    score_chart,
    slice_chart,
)

SVG = "{http://www.w3.org/2000/svg}"


def words(picture: str) -> list[str]:
    return ["".join(text.itertext()) for text in ET.fromstring(picture).iter(f"{SVG}text")]


def pair(better: str, worse: str, n: int = 0) -> Example:
    more = {
        "preferred_output": [{"role": "assistant", "content": better}],
        "non_preferred_output": [{"role": "assistant", "content": worse}],
    }
    return Example(({"role": "user", "content": f"q{n}"},), f"a:{n}", more)


@pytest.fixture
def comparison():
    scores = {"tone": ("0000", "0000", "1110"), "task": ("0000", "1111", "1101")}
    names = ("base", "SFT", "SFT + <DPO>")
    return compare_models(
        {
            measure: {name: evaluation(row, name) for name, row in zip(names, rows, strict=True)}
            for measure, rows in scores.items()
        }
    )


def test_each_model_is_a_point_with_its_interval_in_a_panel_for_each_measure(comparison):
    shown = words(score_chart(comparison).svg)
    assert shown.count("SFT + <DPO>") == 2
    assert [word for word in shown if word in ("tone", "task")] == ["tone", "task"]
    # Wilson's interval of 3 in 4 (scipy: binomtest(3, 4).proportion_ci(method="wilson")): 0.3006 to 0.9544.
    assert shown.count("75.0 % (30 to 95)") == 2
    drawn = score_chart(comparison).svg
    assert len(set(re.findall(r'scale\(1.35\)">(<\w+ [cd][^/]{0,12})', drawn))) == 3


def test_the_drawing_stands_alone_and_its_numbers_stand_below(comparison):
    bundle = score_chart(comparison)._repr_mimebundle_()
    assert set(bundle) == {"image/svg+xml", "text/html", "text/plain"}
    assert "SFT + &lt;DPO&gt; against SFT" in bundle["text/html"]
    assert bundle["text/html"].startswith('<p class="mathjax_ignore"')  # the outcome in a line
    assert bundle["text/html"].index("<svg") < bundle["text/html"].index("<details")
    assert bundle["text/plain"] == comparison.verdict


# Base against tuned


def answered(right: str, model: str, prompt: str) -> Evaluation:
    return replace(evaluation(right, model), prompt=Prompt(prompt))


BASE = answered("1" * 10 + "0" * 50, "base", "4-shot")
TUNED = answered("1" * 50 + "0" * 10, "base.ft-1", "short")


def test_the_verdict_stands_above_the_scores_of_all_that_was_asked():
    others = {"4-shot": BASE, "zero-shot": answered("0" * 60, "base", "zero-shot"), "few": evaluation("01")}
    chart = comparison_chart(compare(BASE, TUNED), others)
    bundle = chart._repr_mimebundle_()
    assert bundle["text/plain"] == (
        "The tuned model is better: 83.3 % against 16.7 % of the base model with the prompt “4-shot” "
        "(+66.7 points, 95 % interval +51.8 to +76.3)."
    )
    assert bundle["text/html"].startswith('<p class="mathjax_ignore" style="font-size:1.25em')
    assert ">✓ The tuned model is better: 83.3 %" in bundle["text/html"]
    shown = words(chart.svg)
    assert [word for word in shown if word.startswith(("tuned", "base"))] == [
        "tuned, short",
        "base, 4-shot",
        "base, zero-shot",
        "tuned − base",
    ]
    assert {"83.3 % (72 to 91)", "0.0 % (0 to 6)", "+66.7 (+51.8 to +76.3)"} <= set(shown)


def test_why_none_right_has_the_wider_interval_is_said_where_questions_come_in_clusters():
    clusters = [f"c{number // 3}" for number in range(60)]
    none, some = in_clusters(answered("0" * 60, "base", "best"), clusters), in_clusters(TUNED, clusters)
    said = "<p>The 60 questions come from 20 clusters, whose questions succeed and fail together."
    assert comparison_chart(compare(none, some)).below.startswith(said)
    both = in_clusters(answered("01" * 30, "base", "best"), clusters)
    assert said not in comparison_chart(compare(both, some)).below  # measured in both
    assert (
        said not in comparison_chart(compare(answered("0" * 60, "base", "best"), TUNED)).below
    )  # no clusters


def test_numbers_and_ten_examples_are_folded_below_the_picture():
    below = comparison_chart(compare(BASE, TUNED)).below
    assert below.count("<details") == 2
    assert "<summary>Examples: 10 of 40 changed items" in below
    assert below.count("wrong → right</th>") == 10


@pytest.mark.parametrize(
    ("tuned", "sign", "opening"),
    [
        ("1" * 10 + "0" * 50, "?", "It is not clear which model is better: 16.7 % against 16.7 %"),
        ("0" * 60, "✕", "The tuned model is worse: 0.0 % against 16.7 %"),
    ],
)
def test_each_outcome_has_a_sign_and_words(tuned, sign, opening):
    above = comparison_chart(compare(BASE, evaluation(tuned, "tuned"))).above
    assert f">{sign} {opening}" in above


# Slices, labels, failures, probes


def sliced() -> Slices:
    """Sixty questions: of one kind the tuned model has all right, of the other all wrong."""
    chats = [
        (
            {"role": "user", "content": f"Q{n} <?>"},
            {"role": "assistant", "content": f"A{n}"},
        )
        for n in range(60)
    ]
    kinds = [{"kind": "list" if n < 30 else "sort"} for n in range(60)]
    rows = zip(chats, kinds, strict=True)
    test = Dataset("test", tuple(Example(c, f"faq.csv:{n}", {}, kind) for n, (c, kind) in enumerate(rows)))
    ids = [item.id for item in questions(test)]

    def of_test(made: Evaluation) -> Evaluation:
        items = zip(made.items, ids, strict=True)
        return replace(made, items=tuple(replace(item, id=id) for item, id in items))

    base, tuned = evaluation("0" * 30 + "1" * 30), evaluation("1" * 30 + "0" * 30, "tuned")
    return slices(compare(of_test(base), of_test(tuned)), test)


def test_a_slice_shows_both_scores_its_items_and_whether_the_difference_is_shown():
    chart = slice_chart(sliced())
    shown = words(chart.svg)
    assert "By kind: tuned − base in points (base → tuned, number of items)" in shown
    assert {"0 → 100 % (30), better", "100 → 0 % (30), worse"} <= set(shown)
    assert chart.above.startswith('<p class="mathjax_ignore">Worse where kind = sort (−100.0 points). ')


def test_without_a_column_it_is_a_sentence_and_no_picture():
    nothing = slice_chart(Slices(()))._repr_mimebundle_()
    assert set(nothing) == {"text/html", "text/plain"}
    assert nothing["text/plain"].startswith("The test has no column to slice by")


def test_a_matrix_has_a_cell_for_each_pair_of_labels_and_escapes_them(unstyled):
    counts = {("a", "a"): 7, ("a", "<b>"): 3, ("<b>", "<b>"): 4, ("<b>", ""): 1}
    drawn = unstyled(matrix(Confusion("tuned", ("a", "<b>"), counts)))
    assert '<td title="70 % of 10">7</td><td title="30 % of 10">3</td><td title="0 % of 10"></td>' in drawn
    assert '<th scope="col">no label</th>' in drawn
    assert "The tuned model&#x27;s most frequent mistake: “&lt;b&gt;” for “a”, 3 times." in drawn


def test_of_many_labels_the_most_frequent_mistakes_are_listed(unstyled):
    labels = tuple(f"l{n:02}" for n in range(13))
    drawn = unstyled(
        matrix(Confusion("base", labels, {("l01", "l02"): 5, ("l03", ""): 9, ("l04", "l04"): 9}))
    )
    assert drawn.index('<th scope="row">l03</th><td>no label</td><td>9</td>') < drawn.index(
        '<th scope="row">l01</th><td>l02</td><td>5</td>'
    )


def failed(answer: str, label: Label | None = None) -> Failed:
    answers = (Answer(answer, "stop", 0.1, 9, 2, score=0.0),)
    return Failed(Item(answer, "faq.csv:2", "When?", "By noon.", answers), label, "instruction")


def test_failures_are_bars_by_kind_and_the_unlabelled_are_named_plainly():
    items = (failed("BY NOON", Label("format", "rule")), failed("night"), failed("never"))
    chart = failure_chart(Failures(Prompt("best"), "base", items, 3))
    assert words(chart.svg) == [
        "format",
        "1 of 3, 33 %, labelled by rule 1",
        "not labelled",
        "2 of 3, 67 %",
    ]
    assert "by the grader&#x27;s scores they count 2 as instruction" in chart.below
    assert repr(chart).splitlines()[1:] == ["format: 1", "not labelled: 2"]


def test_probes_are_two_bars_a_category_with_the_outcome_in_words():
    def probed(right: str, model: str) -> Evaluation:
        made = evaluation(right, model)
        items = (replace(i, more={"category": f"c{n % 2}"}) for n, i in enumerate(made.items))
        return replace(made, items=tuple(items))

    lost = forgotten(probed("1" * 100, "base"), probed("01" * 50, "tuned"), margin=0.1)
    chart = probe_chart(lost)
    assert {"50 → 0 of 50: lost", "50 → 50 of 50: kept", "100 → 50 of 100: lost"} <= set(words(chart.svg))
    assert "Kept: shown to have lost less than 10 points." in chart.above


def test_a_preference_for_length_is_seen_in_the_picture_and_said():
    pairs = [pair("a longer answer", "short", n) for n in range(20)] + [pair("abc", "abc d", 20)]
    chart = length_chart(Dataset("pairs", tuple(pairs)))
    assert chart.words == (
        "Length is preferred, so the model may learn to be long; add pairs in which the shorter is better: "
        "the preferred answer is the longer one in 95% of 21 pairs that differ (p < 0.001)."
    )
    assert chart.bars[0] == (-2, -1, 1)
    assert chart.bars[-1] == (9, 10, 20)
    assert sum(count for *_, count in chart.bars) == 21
    assert {"20", "1", "the preferred is longer →"} <= set(words(chart.svg))


def test_few_pairs_show_no_preference_for_length():
    chart = length_chart(Dataset("pairs", tuple(pair("longer", "short", n) for n in range(3))))
    assert repr(chart).startswith("Length alone does not tell which answer is preferred: ")
    assert repr(chart).endswith("in 100% of 3 pairs that differ (p = 0.12).")


def test_pairs_of_equal_length_are_in_no_bar():
    chart = length_chart(Dataset("pairs", (pair("abc", "xyz"),)))
    assert chart.words == "All 1 pair have answers of equal length."
    assert sum(count for *_, count in chart.bars) == 0
    ET.fromstring(chart.svg)


# Pass rates

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


def test_without_a_front_end_it_is_a_picture_with_the_same_numbers():
    shown = pass_rate_chart(RATES)._repr_mimebundle_()
    written = words(shown["image/svg+xml"])
    assert written[0] == "Reinforcement can start: 50 % of the answers pass"
    assert written[1:3] == [
        "Of 4 prompts 1 never pass and 1 always do (orange); 2 lie in between and can teach",
        "(blue).",
    ]
    assert [word for word in written if word.endswith(" %")] == ["0 %", "25 %", "50 %", "75 %", "100 %"]
    assert shown["text/plain"].splitlines()[2:] == [
        "  0 % pass: 1 prompts",
        " 50 % pass: 2 prompts",
        "100 % pass: 1 prompts",
    ]
