"""Slices of a comparison: which columns are taken, what is shown after the correction, which labels mix."""

from dataclasses import replace

import pytest
from made_evaluations import evaluation, in_clusters

from workbench.dataset.dataset import Dataset, Example
from workbench.errors import DataError
from workbench.evaluation.compare import Comparison, compare
from workbench.evaluation.evaluate import questions
from workbench.evaluation.evaluation import Evaluation
from workbench.evaluation.slices import Slices, slices
from workbench.evaluation.statistics import mcnemar


def made_test(columns: dict[str, list[str]], answers: list[str] | None = None) -> Dataset:
    """A test with these columns beside question and answer."""
    rows = len(next(iter(columns.values())))
    examples = []
    for n in range(rows):
        answer = answers[n] if answers else f"A{n}"
        chat = ({"role": "user", "content": f"Q{n} <?>"}, {"role": "assistant", "content": answer})
        examples.append(Example(chat, f"faq.csv:{n + 2}", {}, {name: c[n] for name, c in columns.items()}))
    return Dataset("test.csv", tuple(examples))


def of_test(made: Evaluation, test: Dataset) -> Evaluation:
    asked = questions(test)
    items = zip(made.items, asked, strict=True)
    return replace(made, items=tuple(replace(i, id=a.id, reference=a.reference) for i, a in items))


def compared(base: str, tuned: str, test: Dataset, clusters: list[str] | None = None) -> Comparison:
    sides = [of_test(evaluation(base), test), of_test(evaluation(tuned, "tuned"), test)]
    return compare(*(in_clusters(side, clusters) for side in sides) if clusters else sides)


def outcomes(found: Slices) -> list[tuple[str, str, int, str]]:
    return [(each.column, each.value, each.found.items, each.outcome) for each in found.slices]


def test_each_value_is_a_slice_with_a_test_corrected_for_all_of_them():
    test = made_test({"kind": ["list"] * 20 + ["sort"] * 20})
    found = slices(compared("0" * 20 + "1" * 20, "1" * 12 + "0" * 8 + "1" * 12 + "0" * 8, test), test)
    assert outcomes(found) == [("kind", "list", 20, "better"), ("kind", "sort", 20, "worse")]
    # Holm: the smaller p twice, the other at least as large.
    assert [each.p_value for each in found.slices] == pytest.approx([2 * mcnemar(0, 12), mcnemar(8, 0)])
    assert (found.slices[0].base, found.slices[0].tuned) == (0.0, 0.6)


def test_what_would_count_alone_does_not_count_among_many():
    test = made_test({"kind": [f"k{n // 10}" for n in range(80)]})
    # One of eight: 6 gains and no loss, p = 0.031 alone and 0.25 for eight.
    found = slices(compared("0" * 80, "1" * 6 + "0" * 74, test), test)
    assert mcnemar(0, 6) == pytest.approx(0.03125)
    assert found.slices[0].p_value == pytest.approx(0.25)
    assert {each.outcome for each in found.slices} == {"not shown"}
    alone = found.slices[0].found.interval()
    assert found.slices[0].interval.low < alone.low < alone.high < found.slices[0].interval.high


def test_columns_with_few_values_are_taken_and_the_cluster_is_not():
    rows = range(60)
    test = made_test(
        {
            "row": [f"{n}" for n in rows],
            "kind": [("list", "sort", "count")[n % 3] for n in rows],
            "the same": [("x", "y", "z")[n % 3] for n in rows],
            "cluster": [f"c{n % 6}" for n in rows],
            "text": ["one\ntwo"] * 30 + ["three"] * 30,
            "constant": ["yes"] * 60,
        }
    )
    found = slices(compared("0" * 60, "1" * 60, test, [f"c{n % 6}" for n in rows]), test)
    assert found.columns == ("kind",)


def test_rare_values_are_put_together():
    kinds = ["list"] * 20 + ["sort"] * 20 + [f"rare {n}" for n in range(7)]
    test = made_test({"kind": kinds})
    found = slices(compared("0" * 47, "1" * 47, test), test)
    assert outcomes(found)[-1] == ("kind", "7 other values", 7, "better")


def test_named_columns_are_taken_whatever_they_hold():
    test = made_test({"row": [f"{n % 3}" for n in range(30)], "kind": ["a", "b"] * 15})
    found = slices(compared("0" * 30, "1" * 30, test), test, by=["row"])
    assert [each.value for each in found.slices] == ["0", "1", "2"]
    with pytest.raises(DataError, match="colour"):
        slices(compared("0" * 30, "1" * 30, test), test, by=["colour"])


def test_items_that_do_not_count_are_in_no_slice():
    test = made_test({"kind": ["a", "b"] * 10})
    whole = [of_test(evaluation("0" * 20), test), of_test(evaluation("1" * 20, "tuned"), test)]
    found = slices(compare(*whole, contaminated=["faq.csv:2"]), test)
    assert [(each.value, each.found.items) for each in found.slices] == [("b", 10), ("a", 9)]


def test_another_test_is_refused():
    test = made_test({"kind": ["a", "b"] * 10})
    with pytest.raises(
        DataError, match=r"test.csv has no item id0 of this comparison; give the test that both"
    ):
        slices(compare(evaluation("0" * 20), evaluation("1" * 20, "tuned")), test)


def test_the_verdict_names_losses_and_the_weakest_slice():
    test = made_test({"kind": ["list"] * 20 + ["sort"] * 20})
    found = slices(compared("0" * 20 + "1" * 20, "1" * 20 + "0" * 20, test), test)
    assert found.verdict == (
        "Worse where kind = sort (−100.0 points). Shown to be better in 1 of 2 slices. The tuned model is "
        "weakest where kind = sort: 0 % of 20 items right."
    )
    assert found.slices[1].facts["outcome"] == "worse"
    assert (found.slices[1].facts["items"], found.slices[1].facts["tuned"]) == (20, 0.0)


def test_where_answers_are_labels_each_model_has_a_confusion_matrix():
    labels = ["Billing", "delivery"] * 10
    test = made_test({"row": [f"{n}" for n in range(20)]}, labels)
    base, tuned = (of_test(evaluation(right), test) for right in ("0" * 20, "1" * 20))
    said = [item.answered(text="billing ", score=float(n % 2 == 0)) for n, item in enumerate(base.items)]
    right = [item.answered(text=item.reference) for item in tuned.items]
    right[0] = right[0].answered(text="No idea.", score=0.0)
    found = slices(compare(replace(base, items=tuple(said)), replace(tuned, items=tuple(right))), test)
    before, after = found.confusion
    assert before.labels == ("billing", "delivery")
    assert before.counts == {("billing", "billing"): 10, ("delivery", "billing"): 10}
    assert before.worst == (("delivery", "billing"), 10)
    assert after.counts == {("billing", ""): 1, ("billing", "billing"): 9, ("delivery", "delivery"): 10}


def test_where_answers_are_no_labels_there_is_none():
    test = made_test({"kind": ["a", "b"] * 10})
    assert slices(compared("0" * 20, "1" * 20, test), test).confusion == ()
