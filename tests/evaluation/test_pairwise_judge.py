"""A judge of two answers: both orders, its consistency, its place, its family, and no name in sight."""

import json
import re
from pathlib import Path

import pytest
from openai import OpenAI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from tests.evaluation.test_preferences import evaluation, numbered
from workbench.errors import DataError
from workbench.evaluation.pairwise_judge import Judgement, ask_judge_pairs, chosen, family
from workbench.evaluation.preferences import preferences
from workbench.evaluation.ratings import AnswerPair, Ratings

BASE, TUNED = numbered("small", 10), numbered("large.ft-1", 10)


class Judge:
    """A service whose model judges as ``says`` tells, by what stands between the headings."""

    def __init__(self, says: str) -> None:
        self.says = says
        self.asked: list[str] = []
        app = Starlette(routes=[Route("/v1/chat/completions", self.complete, methods=["POST"])])
        http = TestClient(app, base_url="http://testserver/v1/")
        self.client = OpenAI(base_url="http://testserver/v1/", api_key="test", http_client=http)

    async def complete(self, request: Request) -> JSONResponse:
        text = json.dumps((await request.json())["messages"])
        self.asked.append(text)
        choice = {"index": 0, "message": {"role": "assistant", "content": self.reply(text)}}
        return JSONResponse(
            {"id": "c", "object": "chat.completion", "created": 0, "model": "m"}
            | {"choices": [choice | {"finish_reason": "stop"}]}
        )

    def reply(self, text: str) -> str:
        if self.says in ("A", "B", "C"):
            return f"Both are fine. [[{self.says}]]"
        found = re.search(rf"\[Answer ([AB])\]\\n{self.says}", text)
        return f"It says what was asked.\n[[{found[1]}]]" if found else "I cannot say."


def test_a_win_counts_when_it_wins_in_both_orders():
    judge = Judge("large")
    judged = ask_judge_pairs(judge.client, "critic", BASE, TUNED)
    assert len(judge.asked) == 20
    assert (judged.wins.rate, judged.consistency, judged.position.share) == (1.0, 1.0, 0.5)
    assert judged.findings == ()
    assert judged.verdict == (
        "critic prefers the tuned model on 10 questions, the base model on 0 and neither on 0: 100.0 % with "
        "ties as half (95 % interval 72–100), sign test p = 0.002."
    )


def test_a_judge_that_takes_whatever_comes_first_finds_no_winner_and_is_found_out():
    judged = ask_judge_pairs(Judge("A").client, "critic", BASE, TUNED)
    assert (judged.wins.rate, judged.consistency, judged.position.share) == (0.5, 0.0, 1.0)
    assert judged.position.p_value == pytest.approx(0.001953125)  # 2 / 2**10, a vote each question
    contradicts, first = judged.findings
    assert contradicts.startswith("It contradicts itself: only 0.0 % of its verdicts")
    assert first == "It prefers what is shown first: 20 of 20 picks were shown first (100.0 %, p = 0.002)."


def test_a_judge_that_calls_all_a_tie_is_consistent_and_decides_nothing():
    judged = ask_judge_pairs(Judge("C").client, "critic", BASE, TUNED)
    assert (judged.wins.rate, judged.consistency, str(judged.position)) == (0.5, 1.0, "no pick yet")


def test_the_judge_is_told_no_models_name():
    judge = Judge("C")
    ask_judge_pairs(
        judge.client, "critic", evaluation("gpt-4.1", "Yes."), evaluation("gpt-4.1.ft-7", "It may.")
    )
    assert "gpt" not in "".join(judge.asked)


@pytest.mark.parametrize(
    ("judge", "finding"),
    [
        (
            "large.ft-1",
            "large.ft-1 is the tuned model (large.ft-1), and models prefer answers like their own",
        ),
        ("large", "large is of the same family as the tuned model (large.ft-1)"),
        ("small-2", "small-2 is of the same family as the base model (small)"),
    ],
)
def test_a_judge_of_its_own_kin_is_said(judge, finding):
    judged = ask_judge_pairs(Judge("C").client, judge, BASE, TUNED)
    assert judged.findings[0].startswith(finding)
    assert "<th" in judged._repr_html_()
    assert finding[:20] in judged._repr_html_()


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("gpt-4.1-mini-2025-04-14.ft-abc-shop", "gpt"),
        ("ft:gpt-4o-mini-2024-07-18:org::id", "gpt"),
        ("o4-mini", "gpt"),
        ("Meta-Llama-3.1-8b-Instruct", "llama"),
        ("meta-llama/Llama-3.3-70B-Instruct", "llama"),
        ("Ministral-3B", "mistral"),
        ("42", "42"),
    ],
)
def test_a_family_is_read_off_the_name(model, name):
    assert family(model) == name


def test_replies_are_paid_for_once_and_verdicts_kept_beside_those_of_people(tmp_path: Path):
    ratings, judge = Ratings(tmp_path / "ratings.jsonl"), Judge("large")
    for _ in range(2):
        ask_judge_pairs(
            judge.client, "critic", BASE, TUNED, ratings=ratings, cache=tmp_path / "answers.jsonl"
        )
    assert len(judge.asked) == 20
    assert len(ratings.path.read_bytes().splitlines()) == 10
    assert {(r.rater, r.by, r.choice, r.first) for r in ratings.latest.values()} == {
        ("critic", "judge", "tuned", None)
    }
    assert preferences(BASE, TUNED, ratings, by="judge").wins.rate == 1.0


def test_replies_without_a_verdict_are_left_out_and_counted():
    judged = ask_judge_pairs(Judge("nobody").client, "critic", BASE, TUNED)
    assert judged.findings == ("10 questions got a reply without a verdict; they are left out.",)
    assert judged.verdict == "critic gave no verdict that can be read."
    assert "–" in judged._repr_html_()


@pytest.mark.parametrize(
    ("reply", "choice"),
    [
        ("[[A]]", "tuned"),
        ("[[B]]", "base"),
        ("[[C]]", "tie"),
        ("<think>[[A]]?</think>[[B]]", "base"),
        ("One could say [[A]], but no:\n[[B]]", "base"),
        ("A", None),
        ("", None),
    ],
)
def test_the_last_verdict_of_a_reply_counts(reply, choice):
    assert chosen(reply, "tuned") == choice


def test_a_tie_in_one_order_and_a_win_in_the_other_is_a_tie():
    judgement = Judgement(AnswerPair("f:1", "?", "", "a", "b"), "tuned", "tie")
    assert (judgement.choice, judgement.picks) == ("tie", (0, 1))


def test_models_that_answered_alike_leave_nothing_to_judge():
    with pytest.raises(DataError, match="answered every question alike; there is nothing to judge"):
        ask_judge_pairs(Judge("C").client, "critic", BASE, BASE)
