"""Compare: paired statistics, and the sentence they end in."""

from dataclasses import replace

import pytest
from scipy.optimize import brentq
from scipy.stats import multinomial

from workbench.errors import DataError
from workbench.evaluation.asking.prompts import AS_TRAINED
from workbench.evaluation.comparing.compare import compare
from workbench.evaluation.evaluate import Evaluation, Item
from workbench.evaluation.graders import grader
from workbench.evaluation.statistics.intervals import items_needed, mcnemar, newcombe


def evaluation(scores: str, model: str = "base", **changes: object) -> Evaluation:
    """One item for each letter: 1 is right and 0 is wrong."""
    items = tuple(
        Item(
            f"id{n}",
            f"faq.csv:{n + 2}",
            f"Q{n} <?>",
            f"A{n}",
            f"{model} {n}",
            float(score),
            0.5,
            30,
            5,
            "stop",
        )
        for n, score in enumerate(scores)
    )
    plain = Evaluation(model, AS_TRAINED, grader("exact"), items, max_tokens=64, temperature=0.0)
    return replace(plain, **changes)


def test_what_was_fixed_and_broken_is_counted_item_by_item():
    result = compare(evaluation("11000"), evaluation("10111", "tuned"))
    assert (result.items, result.fixed, result.broken) == (5, 3, 1)
    assert result.difference == pytest.approx(0.4)


def test_items_are_paired_by_id_whatever_their_order():
    tuned = evaluation("1000", "tuned")
    assert compare(evaluation("1000"), replace(tuned, items=tuned.items[::-1])).fixed == 0


def test_flips_show_right_to_wrong_first():
    flips = compare(evaluation("0110"), evaluation("1100", "tuned")).flips
    assert list(flips["flip"]) == ["right → wrong", "wrong → right"]
    assert list(flips["origin"]) == ["faq.csv:4", "faq.csv:2"]
    assert list(flips["base_answer"]) == ["base 2", "base 0"]
    assert list(flips["tuned_answer"]) == ["tuned 2", "tuned 0"]


@pytest.mark.parametrize(
    ("table", "low", "high"),
    [
        # Newcombe 1998, Statistics in Medicine 17:2635, method 10.
        ((20, 2, 12, 16), 0.0562, 0.3292),
        ((36, 2, 12, 0), 0.0569, 0.3404),
        # Bentur et al. 2009, in Fagerland, Lydersen and Laake 2014, Statistics in Medicine 33:2850.
        ((1, 7, 1, 12), -0.507, -0.026),
        # Cavo et al. 2012, in Fagerland, Lydersen and Laake 2017, chapter 8.
        ((59, 16, 6, 80), -0.1186, -0.0046),
    ],
)
def test_newcombes_interval_is_the_published_one(table, low, high):
    interval = newcombe(*table)
    decimals = len(str(abs(low))) - 2
    assert (round(interval.low, decimals), round(interval.high, decimals)) == (low, high)


def test_newcombes_interval_turns_round_with_the_models():
    there, back = newcombe(59, 16, 6, 80), newcombe(59, 6, 16, 80)
    assert (there.low, there.high) == pytest.approx((-back.high, -back.low))


def test_newcombes_interval_follows_from_its_definition():
    """Solve Wilson's condition numerically instead of by its formula, and combine as the paper says."""
    both, first_only, second_only, neither = 30, 4, 11, 5
    n, z = 50, 1.959963984540054

    def limit(right: int, bracket: tuple[float, float]) -> float:
        return brentq(lambda p: (right / n - p) ** 2 - z * z * p * (1 - p) / n, *bracket, xtol=1e-14)

    p1, p2 = 34 / n, 41 / n
    l1, u1, l2, u2 = limit(34, (0, p1)), limit(34, (p1, 1)), limit(41, (0, p2)), limit(41, (p2, 1))
    phi = (30 * 5 - 4 * 11 - n / 2) / (34 * 16 * 41 * 9) ** 0.5
    low = p2 - p1 - ((p2 - l2) ** 2 - 2 * phi * (p2 - l2) * (u1 - p1) + (u1 - p1) ** 2) ** 0.5
    high = p2 - p1 + ((u2 - p2) ** 2 - 2 * phi * (u2 - p2) * (p1 - l1) + (p1 - l1) ** 2) ** 0.5
    assert newcombe(both, first_only, second_only, neither) == pytest.approx((low, high), abs=1e-10)


@pytest.mark.parametrize("truth", [(0.5, 0.1, 0.2, 0.2), (0.1, 0.02, 0.7, 0.18), (0.8, 0.05, 0.05, 0.1)])
def test_newcombes_interval_covers_the_truth_at_least_94_times_in_100(truth):
    """All tables of 20 items, each with its probability: nothing is drawn by chance."""
    n = 20
    tables = [
        (a, b, c, n - a - b - c) for a in range(n + 1) for b in range(n + 1 - a) for c in range(n + 1 - a - b)
    ]
    probabilities = multinomial.pmf(tables, n, truth)
    difference = truth[2] - truth[1]
    covered = [low <= difference <= high for low, high in (newcombe(*table) for table in tables)]
    assert sum(p for p, inside in zip(probabilities, covered, strict=True) if inside) >= 0.94


@pytest.mark.parametrize(
    ("broken", "fixed", "p_value"),
    # statsmodels 0.15.0: mcnemar([[0, b], [c, 0]], exact=True).pvalue
    [
        (5, 0, 0.0625),
        (10, 20, 0.09873714670538905),
        (1, 7, 0.0703125),
        (3, 3, 1.0),
        (0, 0, 1.0),
    ],
)
def test_mcnemar_is_exact(broken, fixed, p_value):
    assert mcnemar(broken, fixed) == pytest.approx(p_value, rel=1e-12)


@pytest.mark.parametrize(
    ("items", "difference", "discordant"),
    # Connor's formula, solved for the smallest difference that is seen with 80 % power.
    [(50, 0.173, 0.2), (100, 0.124, 0.2), (200, 0.088, 0.2), (500, 0.068, 0.3), (1000, 0.028, 0.1)],
)
def test_items_needed_is_connors_table(items, difference, discordant):
    assert items_needed(difference, discordant) == pytest.approx(items, rel=0.03)


def test_a_clear_gain_is_called_better_with_its_numbers():
    result = compare(evaluation("1" * 6 + "0" * 44), evaluation("0" + "1" * 46 + "000", "tuned"))
    assert result.outcome == "better"
    assert result.verdict == (
        "The tuned model is better: 46 of 50 items right against 6 (+80.0 points, "
        "95 % interval +63.1 to +88.5, exact McNemar p < 0.001). It fixed 41 and broke 1."
    )


def test_a_clear_loss_is_called_worse():
    result = compare(evaluation("1" * 20), evaluation("1" * 10 + "0" * 10, "tuned"))
    assert result.outcome == "worse"
    assert result.verdict.startswith(
        "The tuned model is worse: 10 of 20 items right against 20 (−50.0 points"
    )


def test_a_small_gain_is_not_called_better_and_says_what_would_show_it():
    result = compare(evaluation("1" + "0" * 49), evaluation("0" + "1" * 6 + "0" * 43, "tuned"))
    assert result.outcome == "no significant difference"
    assert "exact McNemar p = 0.12). It fixed 6 and broke 1." in result.verdict
    # n = (1.95996 sqrt(0.14) + 0.84162 sqrt(0.14 - 0.01))^2 / 0.01 = 107.2, so 108
    assert result.verdict.endswith("about 58 more items would show it (80 % power).")


def test_equal_models_are_called_equal():
    result = compare(evaluation("1010"), evaluation("1010", "tuned"))
    assert (result.p_value, result.difference) == (1.0, 0.0)
    assert result.verdict.startswith("No significant difference: 2 of 4 items right against 2 (+0.0 points")
    assert result.verdict.endswith("They are equally good on these items.")


def test_one_item_is_no_proof():
    assert compare(evaluation("0"), evaluation("1", "tuned")).outcome == "no significant difference"


def test_items_that_one_model_did_not_answer_are_named():
    with pytest.raises(DataError, match=r"tuned model did not answer 2 .* items: id2 \(faq.csv:4\), id3"):
        compare(evaluation("1111"), evaluation("11", "tuned"))
    with pytest.raises(DataError, match=r"base model did not answer 1 of the tuned model's items: id2"):
        compare(evaluation("11"), evaluation("111", "tuned"))


def test_two_graders_cannot_be_compared():
    with pytest.raises(DataError, match="graded by 'exact' and the tuned one by 'gql'"):
        compare(evaluation("1"), evaluation("1", "tuned", grader=grader("gql")))


def test_a_score_that_is_neither_right_nor_wrong_cannot_be_compared():
    base = evaluation("1")
    half = replace(base, items=(replace(base.items[0], score=0.5),))
    with pytest.raises(DataError, match=r"gave 0.5 for item faq.csv:2; compare needs right \(1\) or wrong"):
        compare(base, half)


def test_nothing_cannot_be_compared():
    with pytest.raises(DataError, match="There is no item to compare"):
        compare(evaluation(""), evaluation("", "tuned"))


def test_a_comparison_shows_verdict_both_models_and_flips_escaped():
    result = compare(evaluation("01"), evaluation("10", "<tuned>"))
    page = result._repr_html_()
    assert "No significant difference: 1 of 2" in page
    assert "&lt;tuned&gt;" in page
    assert "<tuned>" not in page
    assert page.index("right → wrong</th>") < page.index("wrong → right</th>")
    assert page.count("<caption") == 2
    assert repr(result) == f"<Comparison: {result.verdict}>"
