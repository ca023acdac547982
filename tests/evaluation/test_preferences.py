"""Ratings on disk and what they show: win rates, place, agreement, and pairs to learn from."""

import math
from dataclasses import replace
from pathlib import Path

import pytest

from workbench.dataset.dataset import Dataset, Example
from workbench.dataset.preference_pairs import bias
from workbench.errors import DataError
from workbench.evaluation.agreement import accord
from workbench.evaluation.evaluation import Evaluation, Item
from workbench.evaluation.graders.ready_made import grader
from workbench.evaluation.preferences import Position, Wins, pairs, position, preferences
from workbench.evaluation.prompts import Prompt
from workbench.evaluation.ratings import AnswerPair, Choice, Rating, Ratings, matches
from workbench.evaluation.records import open_ratings
from workbench.evaluation.requests import Answer
from workbench.project import Project

PROMPT = Prompt("as trained")


def evaluation(model: str, *answers: str) -> Evaluation:
    """Answers to numbered questions."""
    items = [
        Item(
            f"q{n}",
            f"faq.jsonl:{n}",
            f"Question {n}?",
            "Yes.",
            (Answer(answer, "stop", 0.1, 9, 2, score=1.0),),
        )
        for n, answer in enumerate(answers, start=1)
    ]
    return Evaluation(model, PROMPT, grader("exact"), tuple(items), 64, 0.0)


def numbered(model: str, n: int) -> Evaluation:
    return evaluation(model, *(f"{model} says {number}" for number in range(1, n + 1)))


BASE, TUNED = numbered("small", 6), numbered("small.ft-1", 6)


@pytest.fixture
def ratings(tmp_path: Path) -> Ratings:
    return Ratings(tmp_path / "ratings.jsonl")


def rate_all(ratings: Ratings, choices: str, rater: str = "", *, left: bool = False) -> None:
    """A letter a question, in the order of the file: t, b, = for a tie, x for both bad, s to skip."""
    meant: dict[str, Choice] = {"t": "tuned", "b": "base", "=": "tie", "x": "both bad", "s": "skip"}
    asked = sorted(matches(BASE, TUNED).asked, key=lambda match: match.origin)
    for match, letter in zip(asked, choices, strict=False):
        choice = meant[letter]
        drawn = match.first_for(rater, 0)
        first = choice if left and choice in ("base", "tuned") else drawn
        ratings.rate(match, choice, first=first, rater=rater)


def told(preferred: object) -> str:
    return str(preferred._repr_html_())


# What is asked


def test_questions_answered_alike_are_put_before_nobody():
    found = matches(evaluation("a", "Yes.", "No."), evaluation("b", " Yes.\n", "Maybe."))
    assert [match.question for match in found.asked] == ["Question 2?"]
    assert found.same == 1


def test_the_order_is_by_lot_and_again_the_same_with_the_same_seed():
    base, tuned = numbered("a", 100), numbered("b", 100)
    asked = matches(base, tuned).asked
    assert matches(base, tuned) == matches(base, tuned)
    assert matches(base, tuned, seed=1).asked != asked
    assert set(matches(base, tuned, seed=1).asked) == set(asked)
    assert matches(base, tuned, sample=10).asked == asked[:10]


def test_about_half_of_the_tuned_answers_come_first_and_each_rater_has_their_own_draw():
    asked = matches(numbered("a", 400), numbered("b", 400)).asked
    ann = [match.first_for("Ann", 0) for match in asked]
    assert 160 < ann.count("tuned") < 240
    assert ann == [match.first_for("Ann", 0) for match in asked]
    assert 160 < sum(match.first_for("Ben", 0) == side for match, side in zip(asked, ann, strict=True)) < 240


def test_only_what_both_answered_is_compared_and_the_rest_is_told(ratings):
    fewer = replace(TUNED, items=TUNED.items[2:])
    assert (len(matches(BASE, fewer).asked), matches(BASE, fewer).alone) == (4, 2)
    assert preferences(BASE, fewer, ratings).findings == (
        "Only one of the two answered 2 questions, which nobody can compare.",
    )
    with pytest.raises(DataError, match="have no question in common; evaluate both on one dataset"):
        matches(BASE, replace(TUNED, items=()))


def test_two_prompts_of_one_model_are_told_apart_by_the_prompt():
    found = matches(BASE, replace(TUNED, model="small", prompt=Prompt("few-shot")))
    assert (found.base, found.tuned) == ("small, as trained", "small, few-shot")


def test_a_sample_of_nothing_is_refused():
    with pytest.raises(DataError, match="sample is 0; draw 1 question or more"):
        matches(BASE, TUNED, sample=0)


# What is kept


def test_a_rating_is_found_again_with_who_gave_it_and_what_was_shown_first(ratings):
    [match, *_] = matches(BASE, TUNED).asked
    ratings.rate(match, "tuned", first="base", rater="Ann", note="friendlier 🙂")
    [again] = Ratings(ratings.path).latest.values()
    assert (again.choice, again.first, again.rater, again.by) == ("tuned", "base", "Ann", "person")
    assert again.note == "friendlier 🙂"
    assert again.at.endswith("+00:00")


def test_the_latest_rating_of_each_rater_counts_and_can_be_taken_back(ratings):
    [match, *_] = matches(BASE, TUNED).asked
    ratings.rate(match, "tuned", first="base", rater="Ann")
    ratings.rate(match, "base", first="base", rater="Ben")
    ratings.rate(match, "tie", first="base", rater="Ann")
    assert [rating.choice for rating in ratings.latest.values()] == ["base", "tie"]
    ratings.forget(match, rater="Ben")
    assert [rating.rater for rating in ratings.latest.values()] == ["Ann"]
    assert len(ratings.path.read_bytes().splitlines()) == 4


def test_half_a_line_left_by_a_crash_costs_no_other_rating(ratings):
    rate_all(ratings, "t")
    with ratings.path.open("ab") as file:
        file.write(b'{"match": "abc", "cho')
    assert len(ratings.latest) == 1


def test_a_line_that_is_no_rating_is_named(ratings):
    ratings.path.write_text('{"match": "abc", "choice": "left", "first": "base"}\n')
    with pytest.raises(DataError, match="holds a line that is no rating: There is no choice 'left'"):
        _ = ratings.latest


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"choice": "left"}, "There is no choice 'left'; there are base, tuned, tie, both bad, skip."),
        ({"first": "left"}, "'left' is no side; the first answer is base or tuned."),
        ({"by": "me"}, "'me' rates nothing; a rating is by person or judge."),
    ],
)
def test_what_means_nothing_is_no_rating(facts, message):
    with pytest.raises(DataError, match=message):
        Rating(**{"choice": "tie", "first": "base", **facts})


def test_ratings_say_how_many_they_are(ratings):
    rate_all(ratings, "ttb=", "Ann")
    rate_all(ratings, "xs")
    assert repr(ratings) == "Ratings(ratings.jsonl: 6 ratings by 2 raters)"


def test_a_project_keeps_its_ratings(tmp_path):
    project = Project("shop", tmp_path / "shop")
    assert open_ratings(project, "two").path == tmp_path / "shop" / "ratings" / "two.jsonl"
    with pytest.raises(DataError, match="'my two' cannot name a file in ratings"):
        open_ratings(project, "my two")


# What it shows


def test_ties_count_as_half():
    wins = Wins((1.0,) * 12 + (0.0,) * 4 + (0.5,) * 4)
    assert wins.rate == pytest.approx(0.7)
    # scipy: binomtest(14, 20) and binomtest(12, 16), proportion_ci(method="wilson")
    assert wins.interval == pytest.approx((0.48102718, 0.85452276), abs=1e-7)
    assert wins.decided == (12, 4, 4)
    assert wins.p_value == pytest.approx(0.076812744, abs=1e-8)  # scipy: binomtest(12, 16, 0.5)


def test_questions_of_one_cluster_that_agree_are_worth_fewer():
    together = Wins((1.0,) * 10 + (0.0,) * 10, tuple("aaaaabbbbbcccccddddd"))
    # As if each cluster were one question; scipy: binomtest(2, 4).proportion_ci(method="wilson").
    assert together.interval == pytest.approx((0.15003899, 0.84996101), abs=1e-7)
    assert Wins(together.values).interval == pytest.approx((0.29929801, 0.70070199), abs=1e-7)


def test_the_sign_test_gives_each_cluster_one_vote():
    wins = Wins((1.0,) * 8, ("a", "a", "b", "b", "c", "c", "d", "d"))
    assert wins.p_value == pytest.approx(0.125)  # 2 / 2**4
    assert Wins((1.0,) * 8).p_value == pytest.approx(0.0078125)  # 2 / 2**8


def test_where_all_prefer_the_same_a_cluster_counts_as_one_question():
    assert Wins((1.0,) * 6, tuple("aabbcc")).interval == Wins((1.0,) * 3).interval


def test_the_place_is_suspected_from_a_share_outside_45_to_55_with_a_p_below_5_percent():
    biased = position([True] * 63 + [False] * 37)
    assert biased.p_value == pytest.approx(0.012032, abs=1e-6)  # scipy: binomtest(63, 100, 0.5)
    assert biased.is_biased
    assert not position([True] * 7 + [False] * 3).is_biased
    assert not Position(5_400, 10_000, 1e-15).is_biased
    assert str(biased) == "63 of 100 picks were shown first (63.0 %, p = 0.012)"
    assert str(position([])) == "no pick yet"


def test_before_anybody_rated_it_says_so(ratings):
    empty = preferences(BASE, TUNED, ratings)
    assert empty.verdict == "No rating by people yet; 6 questions answered differently, 0 alike."
    assert math.isnan(empty.wins.rate)
    assert "small.ft-1" in told(empty)


def test_what_people_prefer_is_said_in_a_sentence_and_a_table(ratings, unstyled):
    rate_all(ratings, "tttt=b")
    found = preferences(BASE, TUNED, ratings)
    assert found.verdict == (
        "Neither is clearly preferred by people: the tuned model wins 75.0 % with ties as half, "
        "4 to 1, sign test p = 0.38."
    )
    html = unstyled(told(found))
    assert '<th scope="row">choices</th><td>tuned 4, tie 1, base 1</td>' in html
    assert '<th scope="row">rated</th><td>6 of 6 questions answered differently</td>' in html


def test_a_preference_beyond_luck_is_called_one(ratings):
    rate_all(ratings, "bbbbbb")
    assert preferences(BASE, TUNED, ratings).verdict.startswith("The base model is preferred by people")


def test_a_skip_is_no_rating_and_both_bad_is_no_preference(ratings):
    rate_all(ratings, "tsxbss")
    found = preferences(BASE, TUNED, ratings)
    assert (len(found.values), found.wins.rate, found.wins.decided) == (3, 0.5, (1, 1, 1))


def test_who_always_takes_the_first_answer_is_found_out(ratings):
    rate_all(ratings, "tbtbtb", left=True)
    found = preferences(BASE, TUNED, ratings)
    assert (found.position.first, found.position.decisive) == (6, 6)
    assert found.findings == (
        "The place decided: 6 of 6 picks were shown first (100.0 %, p = 0.031). "
        "Rate again with another seed, or by other people.",
    )


def test_several_raters_of_a_question_have_one_vote_together(ratings):
    rate_all(ratings, "tt", "Ann")
    rate_all(ratings, "tb", "Ben")
    found = preferences(BASE, TUNED, ratings)
    assert sorted(found.values.values()) == [0.5, 1.0]
    assert found.wins.decided == (1, 0, 1)


def test_what_raters_are_split_on_is_listed(ratings):
    rate_all(ratings, "tt=", "Ann")
    rate_all(ratings, "tbt", "Ben")
    found = preferences(BASE, TUNED, ratings)
    assert [match.origin for match in found.split] == ["faq.jsonl:2"]
    assert sorted(found.disagreements["rater"]) == ["Ann", "Ben"]
    assert "Ann: tuned, Ben: base" in told(found)


def test_krippendorffs_alpha_is_that_of_his_worked_example():
    # Krippendorff 2011, Computing Krippendorff's Alpha-Reliability, section B: nominal data, two observers,
    # ten units: alpha = 0.095.
    meg, owen = "0100000010", "1110010000"
    units = [AnswerPair(f"m:{n}", "?", "", "a", "b") for n in range(10)]
    found = accord({"Meg": dict(zip(units, meg, strict=True)), "Owen": dict(zip(units, owen, strict=True))})
    assert found is not None
    assert found.alpha.value == pytest.approx(0.095, abs=5e-4)
    assert found.share.value == pytest.approx(0.6)
    assert found.kappa is not None
    assert found.kappa.value == pytest.approx(0.0909, abs=1e-4)  # sklearn: cohen_kappa_score


def test_raters_who_agree_no_better_than_chance_are_a_finding(ratings):
    rate_all(ratings, "tbtbtb", "Ann")
    rate_all(ratings, "btbtbt", "Ben")
    [finding] = preferences(BASE, TUNED, ratings).findings
    assert finding.startswith("Ann and Ben agree too little to be believed (alpha -0.83, 0.6 is enough)")


def test_raters_who_always_say_the_same_one_thing_show_no_agreement(ratings):
    rate_all(ratings, "tttttt", "Ann")
    rate_all(ratings, "tttttt", "Ben")
    found = preferences(BASE, TUNED, ratings)
    assert str(found.agreement) == "all say the same of 6 questions, so nothing tells agreement from chance"


def test_without_a_question_that_two_rated_there_is_no_agreement(ratings):
    rate_all(ratings, "ttt", "Ann")
    assert preferences(BASE, TUNED, ratings).agreement is None


def test_a_judges_ratings_are_set_beside_those_of_people_and_never_mixed(ratings):
    rate_all(ratings, "tttbbb", "Ann")
    for match in matches(BASE, TUNED).asked:
        ratings.rate(match, "tuned", first=None, rater="large", by="judge")
    found = preferences(BASE, TUNED, ratings)
    assert (found.wins.rate, found.raters) == (0.5, ("Ann",))
    assert found.judge_agreement is not None
    assert found.judge_agreement.share.value == 0.5
    assert preferences(BASE, TUNED, ratings, by="judge").wins.rate == 1.0
    assert "agreement of judge and people" in told(found)


# What is learnt from it

SYSTEM = {"role": "system", "content": "Be brief."}
FAQ = Dataset(
    "faq.jsonl",
    tuple(
        Example(
            (SYSTEM, {"role": "user", "content": f"Question {n}?"}, {"role": "assistant", "content": "Yes."}),
            f"faq.jsonl:{n}",
            {"tools": [{"type": "function"}]},
            {"topic": "returns"},
        )
        for n in range(1, 7)
    ),
)


def test_what_people_chose_becomes_pairs_in_the_form_that_is_uploaded(ratings):
    rate_all(ratings, "tb=xs")
    made = pairs(preferences(BASE, TUNED, ratings), FAQ)
    assert [example.wire for example in made][1] == {
        "input": {
            "messages": (
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "Question 2?"},
            ),
            "tools": [{"type": "function"}],
        },
        "preferred_output": [{"role": "assistant", "content": "small says 2"}],
        "non_preferred_output": [{"role": "assistant", "content": "small.ft-1 says 2"}],
    }
    assert [example.metadata["preferred_from"] for example in made] == ["tuned", "base"]
    assert made[0].metadata["topic"] == "returns"
    assert made.notes == ("2 questions gave no pair: no answer was preferred",)


def test_pairs_tell_whether_the_preferred_answer_stood_first(ratings):
    rate_all(ratings, "tbtbtb", left=True)
    assert bias(pairs(preferences(BASE, TUNED, ratings), FAQ)).share_first == 1.0


def test_with_several_raters_the_majority_chooses_and_the_order_is_not_known(ratings):
    rate_all(ratings, "tt", "Ann")
    rate_all(ratings, "tb", "Ben", left=True)
    rate_all(ratings, "bb", "Cid")
    made = pairs(preferences(BASE, TUNED, ratings), FAQ)
    assert [example.metadata["preferred_from"] for example in made] == ["tuned", "base"]
    assert [example.metadata["preferred_score"] for example in made] == pytest.approx([2 / 3, 2 / 3])


def test_pairs_of_nothing_preferred_and_of_another_dataset_are_refused(ratings):
    rate_all(ratings, "==")
    with pytest.raises(DataError, match="No pair: no answer was preferred"):
        pairs(preferences(BASE, TUNED, ratings), FAQ)
    rate_all(ratings, "t")
    with pytest.raises(DataError, match="give the dataset that was evaluated"):
        pairs(preferences(BASE, TUNED, ratings), FAQ[3:])
