"""Charts of models and of pairs: what is drawn, and the same in numbers and words."""

import xml.etree.ElementTree as ET

import pytest
from made_evaluations import evaluation

from workbench.dataset.dataset import Dataset, Example
from workbench.evaluation.evaluation import Evaluation, Item
from workbench.evaluation.graders.ready_made import grader
from workbench.evaluation.model_comparison import compare_models
from workbench.evaluation.pass_rates import pass_rates
from workbench.evaluation.prompts import AS_TRAINED
from workbench.evaluation.requests import Answer
from workbench.widgets.score_charts import length_chart, pass_rate_chart, score_chart

SVG = "{http://www.w3.org/2000/svg}"
PLOTLY = "application/vnd.plotly.v1+json"


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
    figure = score_chart(comparison).figure
    assert [note.text for note in figure.layout.annotations] == ["tone", "task"]
    assert [trace.x[0] for trace in figure.data] == [0, 0, 0.75, 0, 1, 0.75]
    assert [trace.y[0] for trace in figure.data][:3] == ["base", "SFT", "SFT + &lt;DPO&gt;"]
    # Wilson's interval of 3 in 4 (scipy: binomtest(3, 4).proportion_ci(method="wilson")).
    last = figure.data[2]
    assert last.x[0] + last.error_x.array[0] == pytest.approx(0.954413, abs=1e-6)
    assert last.x[0] - last.error_x.arrayminus[0] == pytest.approx(0.300642, abs=1e-6)
    assert len({trace.marker.symbol for trace in figure.data}) == 3  # not by colour alone


def test_the_drawing_stands_alone_and_has_its_numbers_beside_each_point(comparison):
    chart = score_chart(comparison)
    shown = words(chart.svg)
    assert shown.count("SFT + <DPO>") == 2
    assert "75.0 % (30–95)" in shown
    assert {"tone", "task", "40 %"} <= set(shown)
    assert set(chart._repr_mimebundle_()) == {PLOTLY, "image/svg+xml", "text/html", "text/plain"}
    assert "SFT + &lt;DPO&gt; against SFT" in chart.drawing()["text/html"]
    assert repr(chart) == comparison.verdict


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
    assert list(chart.figure.data[0].y)[-1] == 20


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


def test_the_histogram_has_a_bar_a_rate_and_marks_both_ends_without_colour_alone():
    (bars,) = pass_rate_chart(RATES).figure.data
    assert list(bars.x) == ["0 %", "25 %", "50 %", "75 %", "100 %"]
    assert list(bars.y) == [1, 0, 2, 0, 1]
    assert list(bars.marker.pattern.shape) == ["/", "", "", "", "/"]


def test_without_a_front_end_it_is_a_picture_with_the_same_numbers():
    shown = pass_rate_chart(RATES)._repr_mimebundle_()
    written = words(shown["image/svg+xml"])
    assert written[0] == "Reinforcement can start: 50 % of the answers pass"
    assert written[1].startswith("Of 4 prompts 1 never pass and 1 always do (orange); 2 lie in between")
    assert shown["text/plain"].splitlines()[2:] == [
        "  0 % pass: 1 prompts",
        " 50 % pass: 2 prompts",
        "100 % pass: 1 prompts",
    ]
