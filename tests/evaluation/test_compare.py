"""Compare: which items count, the verdicts, and the sentence they end in."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest
from made_evaluations import evaluation, in_clusters

from workbench.errors import DataError
from workbench.evaluation.compare import compare
from workbench.evaluation.graders.ready_made import grader
from workbench.evaluation.statistics import holm, mcnemar


def test_what_was_fixed_and_broken_is_counted_item_by_item():
    result = compare(evaluation("11000"), evaluation("10111", "tuned"))
    assert (result.items, result.fixed, result.broken) == (5, 3, 1)
    assert result.difference == pytest.approx(0.4)


def test_items_are_paired_by_id_whatever_their_order():
    tuned = evaluation("1000", "tuned")
    assert compare(evaluation("1000"), replace(tuned, items=tuned.items[::-1])).fixed == 0


def test_flips_show_right_to_wrong_first():
    flips = compare(evaluation("0110"), evaluation("1100", "tuned")).changed_items
    assert list(flips["change"]) == ["right → wrong", "wrong → right"]
    assert list(flips["origin"]) == ["faq.csv:4", "faq.csv:2"]
    assert list(flips["base_answer"]) == ["base 2", "base 0"]
    assert list(flips["tuned_answer"]) == ["tuned 2", "tuned 0"]


def test_flips_of_scores_show_the_largest_loss_first():
    flips = compare(evaluation([0.5, 1, 0.2, 0.3]), evaluation([0.4, 0.25, 0.9, 0.3], "tuned")).changed_items
    assert list(flips["change"]) == ["right → 25 %", "50 % → 40 %", "20 % → 90 %"]


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


def test_a_certain_gain_below_what_matters_is_not_called_better():
    result = compare(evaluation("0" * 1000), evaluation("1" * 15 + "0" * 985, "tuned"))
    assert result.outcome == "better, but below what matters"
    assert result.verdict.startswith("The tuned model is better, but below what matters: 15 of 1,000 items")
    assert result.verdict.endswith("A gain matters from 2 points on.")
    smaller = compare(evaluation("0" * 1000), evaluation("1" * 15 + "0" * 985, "tuned"), minimum=0.01)
    assert smaller.outcome == "better"


def test_a_certain_loss_below_what_matters_is_worse_all_the_same():
    result = compare(evaluation("1" * 1000), evaluation("0" * 15 + "1" * 985, "tuned"))
    assert result.outcome == "worse"
    assert result.verdict.endswith("The loss is below the 2 points that matter.")


def test_a_small_gain_is_inconclusive_and_says_what_would_show_it():
    result = compare(evaluation("1" + "0" * 49), evaluation("0" + "1" * 6 + "0" * 43, "tuned"))
    assert result.outcome == "inconclusive"
    # n = (1.95996 sqrt(0.14) + 0.84162 sqrt(0.14 - 0.01))^2 / 0.01 = 107.2, so 108
    assert result.more_items == 58
    assert result.verdict == (
        "Inconclusive: 6 of 50 items right against 1 (+10.0 points, 95 % interval −0.9 to +22.0, "
        "exact McNemar p = 0.12). It fixed 6 and broke 1. If the difference is truly this large, about "
        "58 more items would show it (80 % power)."
    )


def test_equal_models_on_few_items_are_inconclusive():
    result = compare(evaluation("1010"), evaluation("1010", "tuned"))
    assert (result.p_value, result.difference, result.outcome) == (1.0, 0.0, "inconclusive")
    # If as few flip as can be: (1.95996 sqrt(0.02) + 0.84162 sqrt(0.02 - 0.0004))^2 / 0.0004 = 390.1
    assert result.verdict.endswith(
        "No item changed, so nothing tells how many are needed: about 387 more items if hardly any ever "
        "changes, 3,923 in all if one in five does (80 % power)."
    )


def test_equal_models_on_many_items_do_not_differ_by_what_matters():
    scores = "10" * 1000
    result = compare(evaluation(scores), evaluation("01" * 5 + scores[10:], "tuned"))
    assert result.outcome == "no meaningful difference"
    assert result.verdict.endswith(
        "The true difference is smaller than the 2 points that matter (90 % interval −0.3 to +0.3)."
    )
    assert result.more_items == 0


def test_items_are_named_for_what_settles_it_when_enough_show_what_matters():
    """1,100 items of which 41 flip show 2 points; 1.2 are neither nothing nor enough."""
    base = evaluation("1" * 14 + "0" * 1086)
    result = compare(base, evaluation("0" * 14 + "1" * 27 + "0" * 1059, "tuned"))
    assert result.outcome == "inconclusive"
    # (1.95996 sqrt(41/1100) + 0.84162 sqrt(41/1100 - (13/1100)^2))^2 / (13/1100)^2 = 2092.0
    assert result.more_items == 2093 - 1100
    assert "If the difference is truly this large, about 993 more items would settle it" in result.verdict


def test_one_item_is_no_proof():
    assert compare(evaluation("0"), evaluation("1", "tuned")).outcome == "inconclusive"
    assert compare(evaluation("1"), evaluation("1", "tuned")).outcome == "inconclusive"


def test_scores_between_right_and_wrong_are_compared_by_their_means():
    base = [0.2, 0.5, 0.4, 0.6, 0.3, 0.5, 0.1, 0.4, 0.5, 0.2]
    result = compare(evaluation(base), evaluation([score + 0.3 for score in base], "tuned"))
    assert result.outcome == "better"
    assert result.p_value == pytest.approx(2 / 2**10)
    assert result.verdict == (
        "The tuned model is better: a mean score of 67.0 % against 37.0 % on 10 items (+30.0 points, "
        "95 % interval +30.0 to +30.0, sign-flip test p = 0.002). 10 items scored higher and 0 lower."
    )


def test_scores_that_did_not_change_on_few_items_prove_nothing():
    half = evaluation([0.5] * 10)
    result = compare(half, evaluation([0.5] * 10, "tuned"))
    assert result.outcome == "inconclusive"
    # 1 - 0.025^(1/10)
    assert result.interval == pytest.approx((-0.3085, 0.3085), abs=5e-5)
    assert compare(evaluation([0.5] * 300), evaluation([0.5] * 300, "tuned")).outcome == (
        "no meaningful difference"
    )
    few = compare(evaluation([0.5] * 3), evaluation([0.7] * 3, "tuned"))
    assert "Fewer than 6 items prove nothing: add" in few.verdict


def test_items_of_one_document_are_taken_together():
    base, tuned = evaluation("0" * 40), evaluation("1" * 20 + "0" * 20, "tuned")
    documents = [f"doc{n // 10}" for n in range(40)]
    alone = compare(base, tuned)
    together = compare(in_clusters(base, documents), in_clusters(tuned, documents))
    assert alone.outcome == "better"
    assert together.outcome == "inconclusive"
    assert (together.clusters, together.p_value) == (4, 0.5)  # 2 of 4: 2 of 2^2 patterns of signs
    assert "4 clusters, cluster sign-flip test p = 0.5" in together.verdict
    assert "All items are from 4 clusters, and fewer than 6 prove nothing: add" in together.verdict


def test_a_question_asked_again_is_no_new_evidence():
    base, tuned = evaluation("0" * 20), evaluation("1" * 20, "tuned")
    same = [replace(item, question="How?") for item in base.items[:15]]
    again = compare(replace(base, items=(*same, *base.items[15:])), tuned)
    assert again.clusters == 6
    assert again.p_value == pytest.approx(2 / 2**6)


def test_an_item_of_two_clusters_is_refused():
    base, tuned = evaluation("01"), evaluation("11", "tuned")
    with pytest.raises(DataError, match=r"id0 \(faq.csv:2\) is of cluster 'a' in .* 'b' in the tuned"):
        compare(in_clusters(base, ["a", "a"]), in_clusters(tuned, ["b", "a"]))


def test_every_look_is_corrected_for():
    base, tuned = evaluation("0" * 60), evaluation("1" * 7 + "0" * 53, "tuned")
    assert compare(base, tuned).outcome == "better"
    result = compare(base, tuned, comparisons_made=6)
    assert result.p_value == pytest.approx(6 * mcnemar(0, 7))
    assert result.outcome == "inconclusive"
    assert "exact McNemar p = 0.094 after Holm's correction for 6 comparisons" in result.verdict


def test_an_interval_that_excludes_0_does_not_outdo_the_test():
    result = compare(evaluation("10000000"), evaluation("01111111", "tuned"))
    assert (result.p_value, result.outcome) == (pytest.approx(0.0703125), "inconclusive")
    assert result.interval.low > 0
    assert "The interval alone excludes 0; the test, which is stricter, decides." in result.verdict


def test_other_checkpoints_are_compared_and_corrected_together():
    base, tuned = evaluation("0" * 60), evaluation("1" * 9 + "0" * 51, "last")
    others = [evaluation("1" * 7 + "0" * 53, "first"), evaluation("1" * 2 + "0" * 58, "second")]
    result = compare(base, tuned, also=others)
    expected = holm([mcnemar(0, 9), mcnemar(0, 7), mcnemar(0, 2)])
    assert (result.p_value, *(each.p_value for each in result.also)) == pytest.approx(expected)
    assert [each.outcome for each in result.also] == ["better", "inconclusive"]
    # 0.846 standard errors, each sqrt(0.15 x 0.85 / 59)
    assert result.optimism == pytest.approx(0.8463 * 0.04649, rel=1e-3)
    assert result.verdict.endswith("If it was picked as the best of 3, up to 3.9 of these points are luck.")
    page = result._repr_html_()
    assert "All 3 against base; p after Holm&#x27;s correction for 3 comparisons" in page
    assert ">second</th>" in page


def test_contaminated_items_do_not_count_and_the_score_with_them_is_given():
    base, tuned = evaluation("0000110000"), evaluation("1111110000", "tuned")
    result = compare(base, tuned, contaminated=["id0", "faq.csv:3"])
    assert (result.items, result.fixed) == (8, 2)
    assert result.verdict.endswith(
        "2 items are left out (contaminated: also in the training data): id0, id1. "
        "With the contaminated ones: 6 of 10 items right against 2."
    )
    assert str(result) == result.verdict


def test_contaminated_items_that_nobody_knows_are_named():
    with pytest.raises(
        DataError, match=r"None of the 1 contaminated items .* \(row7\); .* such as id0 \(faq.csv:2\)"
    ):
        compare(evaluation("01"), evaluation("11", "tuned"), contaminated=["row7"])
    with pytest.raises(DataError, match="Every item is contaminated"):
        compare(evaluation("01"), evaluation("11", "tuned"), contaminated=["id0", "id1"])


def test_items_without_a_score_are_left_out_and_cannot_change_the_verdict_unseen():
    base = evaluation("0" * 30)
    stands = compare(base, evaluation("1" * 20 + "x" + "0" * 9, "tuned"))
    assert (stands.items, stands.outcome) == (29, "better")
    assert stands.verdict.endswith(
        "1 item is left out (not scored for both models): id20. "
        "The verdict is the same if those without a score all count against the tuned model."
    )
    falls = compare(evaluation("0" * 9 + "1" * 9), evaluation("1" * 9 + "x" * 9, "tuned"))
    assert falls.outcome == "better"
    assert falls.verdict.endswith("against the tuned model, the verdict would be: inconclusive.")


def test_nothing_that_could_be_graded_is_nothing_to_compare():
    with pytest.raises(DataError, match=r"none has a score from both models \(the judge refused\)"):
        compare(evaluation("11"), evaluation("xx", "tuned"))


def test_items_that_one_model_did_not_answer_are_named():
    with pytest.raises(DataError, match=r"tuned model did not answer 2 .* items: id2 \(faq.csv:4\), id3"):
        compare(evaluation("1111"), evaluation("11", "tuned"))
    with pytest.raises(DataError, match=r"base model did not answer 1 of the tuned model's items: id2"):
        compare(evaluation("11"), evaluation("111", "tuned"))


def test_a_partial_run_is_compared_on_what_both_have_if_asked_to():
    result = compare(evaluation("0011"), evaluation("11", "tuned"), missing="leave out")
    assert (result.items, result.fixed) == (2, 2)
    assert result.verdict.endswith("2 items are left out (not answered by the tuned model): id2, id3.")
    with pytest.raises(DataError, match="the two have no item in common"):
        compare(evaluation(""), evaluation("11", "tuned"), missing="leave out")


def test_an_id_that_stands_for_two_items_is_refused():
    base = evaluation("01")
    twice = replace(base, items=(*base.items, base.items[0]))
    with pytest.raises(DataError, match="The base evaluation has 1 ids more than once: id0"):
        compare(twice, evaluation("01", "tuned"))


def test_two_graders_cannot_be_compared():
    with pytest.raises(DataError, match="graded by 'exact' and the tuned one by 'gql'"):
        compare(evaluation("1"), evaluation("1", "tuned", grader=grader("data/gql/gql.py")))


def test_nothing_cannot_be_compared():
    with pytest.raises(DataError, match="There is no item to compare; both evaluations are empty"):
        compare(evaluation(""), evaluation("", "tuned"))


def test_what_cannot_be_meant_is_refused():
    base = evaluation("01")
    with pytest.raises(DataError, match=r"minimum is 2; give a share between 0 and 1, such as 0.02 for 2"):
        compare(base, base, minimum=2)
    with pytest.raises(DataError, match="comparisons_made is 0; count this one too: at least 1"):
        compare(base, base, comparisons_made=0)


def test_a_comparison_shows_verdict_both_models_and_flips_escaped():
    result = compare(evaluation("01"), evaluation("10", "<tuned>"))
    page = result._repr_html_()
    assert "Inconclusive: 1 of 2" in page
    assert "&lt;tuned&gt;" in page
    assert "<tuned>" not in page
    assert page.index("right → wrong</th>") < page.index("wrong → right</th>")
    assert page.count("<caption") == 2
    assert repr(result) == f"<Comparison: {result.verdict}>"


def test_a_comparison_shows_the_worst_losses_and_the_best_gains():
    base = evaluation([0.5] * 20)
    tuned = evaluation([0.5 + 0.02 * (n - 10) for n in range(20)], "tuned")
    page = compare(base, tuned)._repr_html_()
    assert "10 of 19 changed items" in page
    assert "50 % → 30 %" in page
    assert "50 % → 68 %" in page
    assert "50 % → 52 %" not in page


def test_the_headline_says_it_in_one_sentence():
    equal = compare(evaluation("01" * 30), evaluation("10" * 30, "tuned"))
    assert equal.headline == (
        "It is not clear which model is better: 50.0 % against 50.0 % of the base model with the prompt "
        "“as trained” (+0.0 points, 95 % interval −24.5 to +24.5)."
    )
    slightly = compare(evaluation("0" * 100), evaluation("1" * 10 + "0" * 90, "tuned"), minimum=0.2)
    assert slightly.headline.startswith(
        "The tuned model is better, but by less than the 20 points that matter: 10.0 % against 0.0 %"
    )


def test_ten_examples_are_of_different_clusters_and_as_many_losses_as_gains():
    clusters = [f"c{n // 5}" for n in range(60)]
    base, tuned = evaluation("1" * 30 + "0" * 30), evaluation("0" * 30 + "1" * 30, "tuned")
    result = compare(in_clusters(base, clusters), in_clusters(tuned, clusters))
    assert [item.id for item, _ in result.broken_examples] == ["id0", "id5", "id10", "id15", "id20"]
    assert len({item.cluster for item, _ in result.fixed_examples}) == 5
    few = compare(evaluation("110000000000"), evaluation("001111111111", "tuned"))
    assert (len(few.broken_examples), len(few.fixed_examples)) == (2, 8)


def test_a_comparison_is_json_for_a_shell():
    facts = json.loads(json.dumps(compare(evaluation("01x"), evaluation("110", "tuned")).facts))
    assert facts["outcome"] == "inconclusive"
    assert (facts["items"], facts["fixed"], facts["test"]) == (2, 1, "exact McNemar")
    assert facts["left_out"] == [{"why": "not scored for both models", "ids": ["id2"]}]


def test_models_that_were_asked_differently_are_said_to_be():
    result = compare(evaluation("01"), evaluation("11", "tuned", temperature=0.7))
    assert result.verdict.endswith(
        "They were asked differently: the base model at temperature 0 for up to 64 tokens, the tuned one at "
        "0.7 for 64."
    )


def test_the_probability_of_a_gain_is_told_where_items_are_independent():
    base, tuned = evaluation("10000000"), evaluation("01111111", "tuned")
    # scipy 1.17.1: P(Beta(7.5, 1.5) > 0.5)
    assert compare(base, tuned).probability_better == pytest.approx(0.98662653, abs=1e-8)
    assert (
        compare(*(in_clusters(side, list("aabbccdd")) for side in (base, tuned))).probability_better is None
    )


def test_importing_compare_loads_no_numbers():
    code = "import sys, workbench.evaluation.compare; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {"numpy", "scipy", "pandas"} & set(loaded.stdout.split()) == set()
