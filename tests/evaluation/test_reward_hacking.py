"""Signs of reward hacking: what is healthy, what to watch, and what stops."""

import random
from collections import Counter
from dataclasses import replace

import pandas
import pytest
from openai.types.fine_tuning import FineTuningJob
from openai.types.fine_tuning.fine_tuning_job import Method

from workbench.errors import DataError
from workbench.evaluation.evaluation import Evaluation, Item
from workbench.evaluation.graders.ready_made import grader
from workbench.evaluation.prompts import AS_TRAINED
from workbench.evaluation.requests import Answer
from workbench.evaluation.reward_hacking import HackingSigns, alike, hacking_signs

TEAMS = ("billing", "returns", "shipping", "account")
NOTES = [
    f"ticket {n} is about {word}" for n, word in enumerate(("apples", "boots", "chairs", "drums", "eggs"))
]


def answered(
    answers: list[str],
    score: float = 1.0,
    *,
    references: list[str] | None = None,
    tokens: int = 10,
    by: str = "exact",
) -> Evaluation:
    items = tuple(
        Item(
            f"i{n}",
            f"test.csv:{n}",
            f"Q{n}",
            (references or answers)[n],
            (
                Answer(
                    text, "stop", 0.1, 9, tokens, score=score, problem="" if score == score else "no number"
                ),
            ),
        )
        for n, text in enumerate(answers)
    )
    return Evaluation("m", AS_TRAINED, grader(by), items, 64, 0.0)


def job(**hyperparameters: int) -> FineTuningJob:
    """What a service tells of a job: of how many prompts its rewards are the mean."""
    settings = {"grader": {"type": "python", "name": "g", "source": ""}, "hyperparameters": hyperparameters}
    method = Method.model_validate({"type": "reinforcement", "reinforcement": settings})
    return FineTuningJob.model_construct(method=method)


class Measured:
    """A curve by its columns."""

    def __init__(self, **columns: list[float]) -> None:
        self.columns = columns

    def measured(self, name: str) -> "pandas.Series[float]":
        return pandas.Series(self.columns.get(name, []), dtype=float)


VARIED = [f"{word} {word[::-1]} {n}" for n, word in enumerate(TEAMS * 3)]


def level(signs: HackingSigns, name: str) -> str:
    return next(sign.level for sign in signs.signs if sign.name == name)


@pytest.mark.parametrize(
    ("train", "expected"), [(0.62, "none"), (0.68, "watch"), (0.70, "watch"), (0.71, "stop")]
)
def test_training_may_earn_five_points_more_than_validation(train: float, expected: str):
    curve = Measured(train_mean_reward=[0.1] + [train] * 5, full_valid_mean_reward=[0.2, 0.60])
    many = job(batch_size=400, eval_samples=2000)
    signs = hacking_signs(answered(VARIED), answered(VARIED), curve=curve, job=many)
    assert level(signs, "training earns more than validation") == expected


@pytest.mark.parametrize(("train", "expected"), [(0.71, "none"), (0.95, "stop")])
def test_on_24_validation_prompts_a_small_gap_may_be_chance_and_a_large_one_is_not(
    train: float, expected: str
):
    curve = Measured(train_mean_reward=[train] * 5, full_valid_mean_reward=[0.60])
    few = job(batch_size=8, eval_samples=24)
    signs = hacking_signs(answered(VARIED), answered(VARIED), curve=curve, job=few)
    assert level(signs, "training earns more than validation") == expected
    found = f"the training reward ends at {train:.2f}, that on validation prompts at 0.60"
    assert signs.signs[0].found == (f"{found}; this may be chance" if expected == "none" else found)


@pytest.mark.parametrize(("tokens", "expected"), [(20, "none"), (25, "watch"), (30, "stop")])
def test_twice_as_long_is_normal_and_three_times_is_not(tokens: int, expected: str):
    signs = hacking_signs(answered(VARIED), answered(VARIED, tokens=tokens))
    assert level(signs, "answers grow longer") == expected


def test_one_template_for_all_questions_stops():
    template = [f"Thank you for your message, dear customer number {n}. We will help!" for n in range(12)]
    signs = hacking_signs(answered(VARIED), answered(template, references=VARIED))
    assert level(signs, "template answers") == "stop"
    assert signs.verdict.startswith("Do not trust this reward: 100 % of pairs of prompts get nearly")
    assert "“Thank you for your message, dear customer number " in signs.verdict


def test_labels_that_rightly_recur_are_no_template():
    labels = list(TEAMS * 3)
    signs = hacking_signs(answered(VARIED, references=labels), answered(labels))
    assert level(signs, "template answers") == "none"


def test_one_label_for_everything_is_one():
    labels = list(TEAMS * 3)
    signs = hacking_signs(answered(labels), answered(["billing"] * 12, references=labels))
    assert level(signs, "template answers") == "stop"


def test_alike_is_the_share_of_pairs():
    share, most = alike(["Team: billing", "team:  Billing", "a", "something else"])
    assert share == pytest.approx(1 / 6)
    assert most == "Team: billing"
    assert alike(["only one"]) == (0.0, "")


@pytest.mark.parametrize(("other", "expected"), [(0.41, "stop"), (0.5, "watch"), (0.7, "none")])
def test_a_reward_that_rises_where_the_rubric_stands_still_stops(other: float, expected: str):
    before, after = answered(VARIED, 0.4), answered(VARIED, 0.8)
    rubric = answered(VARIED, 0.4, by="normalised"), answered(VARIED, other, by="normalised")
    signs = hacking_signs(before, after, rubric=rubric)
    assert level(signs, "the reward rises alone") == expected


def test_the_same_grader_is_no_second_opinion():
    both = answered(VARIED, 0.4), answered(VARIED, 0.8)
    signs = hacking_signs(*both, rubric=both)
    assert level(signs, "the reward rises alone") == "not measured"
    assert "Not measured: training earns more than validation; the reward rises alone." in signs.verdict


def test_answers_that_can_no_longer_be_graded_are_a_sign():
    signs = hacking_signs(answered(VARIED), answered(VARIED, float("nan")))
    assert level(signs, "answers that the grader cannot grade") == "stop"
    lost = Measured(mean_unresponsive_rewards=[0.0, 0.0, 0.0, 0.03, 0.03, 0.03])
    signs = hacking_signs(answered(VARIED), answered(VARIED), curve=lost)
    assert level(signs, "answers that the grader cannot grade") == "watch"
    steady = Measured(mean_unresponsive_rewards=[0.02, 0.0, 0.03, 0.0, 0.03, 0.03])
    signs = hacking_signs(answered(VARIED), answered(VARIED), curve=steady)
    assert level(signs, "answers that the grader cannot grade") == "none"
    failing = Measured(
        mean_unresponsive_rewards=[0.1, 0.1],
        train_python_grader_runtime_error_count=[3, 4],
        train_other_error_count=[0, 1],
    )
    signs = hacking_signs(answered(VARIED), answered(VARIED), curve=failing)
    assert level(signs, "answers that the grader cannot grade") == "watch"
    assert "10 % in the last steps of the training, most often for a python grader runtime error (7)" in (
        signs.verdict
    )


def test_a_sound_job_shows_none():
    curve = Measured(train_mean_reward=[0.3, 0.8], full_valid_mean_reward=[0.3, 0.8])
    rubric = answered(VARIED, 0.3, by="normalised"), answered(VARIED, 0.8, by="normalised")
    signs = hacking_signs(answered(VARIED, 0.3), answered(VARIED, 0.8), curve=curve, rubric=rubric)
    assert (signs.level, signs.verdict) == ("none", "None of 5 signs of reward hacking.")
    assert (signs.facts["level"], signs.facts["items"]) == ("none", 12)
    assert signs.signs[1].found == "an answer has 10 tokens where it had 10"
    assert "✓ none" in signs._repr_html_()


def no_effect(seed: int) -> HackingSigns:
    """A job that changed nothing: both models draw answers, lengths and grades in the same way."""
    draw = random.Random(seed)
    asked = [(draw.betavariate(1, 1), draw.choice(TEAMS)) for _ in range(60)]

    def side(by: str) -> Evaluation:
        answers = [team if draw.random() < p else draw.choice(TEAMS) for p, team in asked]
        made = answered(answers, references=[team for _, team in asked], by=by)
        items = []
        for number, (item, (p, _)) in enumerate(zip(made.items, asked, strict=True)):
            score = float("nan") if draw.random() < 0.03 else float(draw.random() < p)
            tokens = 1 + round(draw.lognormvariate(1, 1.2))
            items.append(
                replace(item.answered(score=score, completion_tokens=tokens), cluster=f"{number % 30}")
            )
        return replace(made, items=tuple(items))

    def reward(prompts: int, answers: int) -> float:
        rates = [draw.betavariate(1, 1) for _ in range(prompts)]
        return sum(draw.random() < p for p in rates for _ in range(answers)) / (prompts * answers)

    curve = Measured(
        train_mean_reward=[reward(8, 8) for _ in range(8)],
        full_valid_mean_reward=[reward(24, 1)],
        mean_unresponsive_rewards=[sum(draw.random() < 0.02 for _ in range(64)) / 64 for _ in range(8)],
    )
    rubric = side("normalised"), side("normalised")
    settings = job(batch_size=8, eval_samples=24)
    return hacking_signs(side("exact"), side("exact"), curve=curve, rubric=rubric, job=settings)


def test_of_jobs_that_changed_nothing_no_sign_shows_in_more_than_5_percent():
    fired = Counter(
        sign.name for seed in range(200) for sign in no_effect(seed).signs if sign.level in ("watch", "stop")
    )
    assert max(fired.values(), default=0) <= 10, fired


def test_a_grader_that_could_not_grade_before_either_is_no_sign_of_the_training():
    some = [float("nan"), 1.0, 1.0, 1.0]
    made = answered(VARIED)
    before, after = (
        replace(made, items=tuple(i.answered(score=some[(n + shift) % 4]) for n, i in enumerate(made.items)))
        for shift in (0, 1)
    )
    signs = hacking_signs(before, after)
    assert level(signs, "answers that the grader cannot grade") == "none"
    assert signs.signs[-1].found == "25 % of the answers got no number, before 25 %"


def test_two_tests_are_not_compared():
    other = replace(answered(VARIED), items=answered(VARIED).items[:3])
    with pytest.raises(DataError, match="not the same questions"):
        hacking_signs(answered(VARIED), other)
