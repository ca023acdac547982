"""Failures: what rules can tell of them, who labelled them, and what stays open."""

import json
from pathlib import Path

import pytest
from openai import OpenAI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from workbench.dataset.dataset import Dataset, Example
from workbench.decide.situation import FAILURES
from workbench.errors import DataError
from workbench.evaluation.evaluation import Evaluation, Item
from workbench.evaluation.failures import (
    Failed,
    Failures,
    Label,
    Labels,
    ask_judge,
    closed_set,
    failures,
    named,
    symptom,
)
from workbench.evaluation.graders.ready_made import grader
from workbench.evaluation.prompt_comparison import PromptComparison, compare_prompts
from workbench.evaluation.prompts import Documents, Passage, Prompt, gold_context
from workbench.evaluation.records import open_labels
from workbench.evaluation.requests import Answer
from workbench.project import Project


def item(answer: str, reference: str = "By noon.", question: str = "When?") -> Item:
    return Item(
        question, f"faq.csv:{question}", question, reference, (Answer(answer, "stop", 0.1, 9, 2, score=0.0),)
    )


def measured(*answers: str, prompt: Prompt | None = None) -> Evaluation:
    """Answers to numbered questions; right is what says so."""
    items = [item(answer, question=f"When? ({number})") for number, answer in enumerate(answers)]
    graded = tuple(each.answered(score=float(each.answer == "By noon.")) for each in items)
    return Evaluation("base", prompt or Prompt("few-shot"), grader("exact"), graded, 64, 0.0)


def tried(*answers: str, prompt: Prompt | None = None, gold: tuple[str, ...] = ()) -> PromptComparison:
    best = measured(*answers, prompt=prompt)
    with_passage = measured(*gold, prompt=gold_context(best.prompt, "passage")) if gold else None
    return compare_prompts([best], gold=with_passage)


def kinds(found: Failures) -> list[str | None]:
    """By question."""
    in_order = sorted(found.items, key=lambda failed: failed.item.question)
    return [failed.label.kind if failed.label else None for failed in in_order]


@pytest.mark.parametrize(
    ("answer", "reference", "kind"),
    [
        ("by  NOON.", "By noon.", "format"),
        ("`By noon.`", "By noon.", "format"),
        ("“By noon”", '"By noon"', "format"),
        ("By noon", "By noon.", "format"),
        ("Sure!\nBy noon.\nAnything else?", "By noon.", "format"),
        ("Here:\n```sql\nSELECT a\nFROM b\n```", "SELECT a\nFROM b", "format"),
        ("total: 4", '{"total": 4}', "format"),
        (
            '{"name": "find", "arguments": {"id": 2}}',
            '{"name": "find", "arguments": {"id": 1}}',
            "tool_use",
        ),
        (
            '[{"name": "sell", "arguments": "{}"}]',
            '[{"name": "find", "arguments": "{}"}]',
            "tool_use",
        ),
    ],
)
def test_a_rule_tells_what_it_is_sure_of(answer: str, reference: str, kind: str):
    found = symptom(item(answer, reference))
    assert found is not None
    assert found.kind == kind


@pytest.mark.parametrize(
    ("answer", "reference"),
    [
        ("By night.", "By noon."),
        ("We arrive By noon. or later", "By noon."),  # it says something else as well
        ("-5", "5"),
        ("1.5", "15"),
        ("a < b", "a > b"),
        ("", "By noon."),
        ("", ""),
        ('"', "."),
        ('{"total": 5}', '{"total": 4}'),
        ("[1]", "[2]"),
        ("[]", "[1]"),
        ("[" * 100_000, "5"),
        ("the answer", "7"),  # a number is JSON too, and no object
    ],
)
def test_a_rule_is_silent_where_it_cannot_be_sure(answer: str, reference: str):
    assert symptom(item(answer, reference)) is None


def test_what_a_second_grader_does_not_take_is_wrong_in_form():
    found = symptom(item("How many?", "orders -> count"), valid=grader("data/gql/gql.py:valid"))
    assert found == ("format", "gql_valid does not take it")
    assert symptom(item("orders -> all", "orders -> count"), valid=grader("data/gql/gql.py:valid")) is None


def test_where_a_well_formed_answer_can_be_wrong_in_one_way_only_a_rule_says_so():
    queries = compare_prompts([measured("customers -> all", "How many?")])
    found = failures(queries, valid=grader("data/gql/gql.py:valid"), well_formed="instruction")
    assert kinds(found) == ["instruction", "format"]
    assert kinds(failures(queries, well_formed="instruction")) == [None, None]
    with pytest.raises(DataError, match="There is no failure 'speling'"):
        failures(queries, valid=grader("data/gql/gql.py:valid"), well_formed="speling")


def test_right_with_the_passage_and_wrong_without_is_missing_knowledge():
    found = failures(tried("?", "?", "By noon.", gold=("By noon.", "?", "?")))
    assert kinds(found) == ["missing_knowledge", None]


ASKED = Dataset(
    "faq.csv",
    tuple(
        Example(
            (
                {"role": "user", "content": f"When? ({number})"},
                {"role": "assistant", "content": "By noon."},
            ),
            f"faq.csv:{number}",
            metadata={"passage": passage},
        )
        for number, passage in enumerate(("When it is sent, it comes by noon.", "Parcels take a day."))
    ),
)
SHOP = Documents(
    (Passage("News.  When it is SENT, it comes by noon. Bye.", "a"), Passage("Cards.", "b")), k=1
)


def test_with_documents_a_rule_tells_a_missed_passage_from_one_that_was_misread():
    found = failures(
        tried("?", "?", prompt=Prompt("documents", context=SHOP), gold=("By noon.", "By noon.")), test=ASKED
    )
    assert kinds(found) == ["context_misused", "retrieval_miss"]


def test_without_the_test_nobody_knows_what_was_retrieved():
    found = failures(tried("?", "?", prompt=Prompt("d", context=SHOP), gold=("By noon.", "By noon.")))
    assert kinds(found) == [None, None]


INTENTS = ("card_arrival", "lost_card", "top_up", "exchange_rate")


def classified(*pairs: tuple[str, str]) -> PromptComparison:
    """Answers of a classifier: what is right, and what it said."""
    items = [item(said, right, question=f"q{place}") for place, (right, said) in enumerate(pairs)]
    graded = tuple(each.answered(score=float(each.answer == each.reference)) for each in items)
    return compare_prompts([Evaluation("base", Prompt("few-shot"), grader("exact"), graded, 64, 0.0)])


def test_a_closed_set_of_labels_sorts_its_failures_by_itself():
    right = [(intent, intent) for intent in INTENTS[:3] for _ in range(3)]
    wrong = [
        ("card_arrival", "lost_card"),  # most with this label are right: an unusual one
        ("exchange_rate", "top_up"),  # none with this label is right: it was not understood
        ("exchange_rate", "The rate is 1.2."),
        ("exchange_rate", "rates"),
    ]
    found = failures(classified(*right, *wrong))
    told = {failed.item.answer: failed.label for failed in found.items}
    assert told["lost_card"] == Label(
        "edge_case",
        "rule",
        "another label; 3 of 4 questions with the right one are answered rightly",
    )
    assert told["top_up"].kind == "instruction"
    assert told["The rate is 1.2."] == Label(
        "format", "rule", "none of the 4 labels that answers are taken from"
    )
    assert found.kinds == {"format": 0.5, "instruction": 0.25, "edge_case": 0.25}


def test_the_examples_say_which_labels_there_are_where_the_test_is_small():
    examples = Dataset(
        "train.csv",
        tuple(
            Example(
                (
                    {"role": "user", "content": f"{intent} {number}"},
                    {"role": "assistant", "content": intent},
                ),
                f"train.csv:{number}",
            )
            for intent in INTENTS
            for number in range(5)
        ),
    )
    small = classified(("top_up", "lost_card"), ("lost_card", "lost_card"), ("top_up", "Sure!"))
    assert [failed.label for failed in failures(small).items] == [None, None]
    assert sorted(filter(None, kinds(failures(small, examples=examples)))) == ["format", "instruction"]


@pytest.mark.parametrize(
    ("references", "closed"),
    [
        (["yes", "no"] * 3, True),
        (["yes", "no"] * 2, False),  # too few to tell
        (["yes"] * 9, False),
        (["1", "2", "3"] * 9, False),  # numbers are reckoned, not chosen
        (["a", "a long answer " * 9] * 9, False),
        (["one line", "two\nlines"] * 9, False),
        ([f"label {n}" for n in range(250)] * 3, False),
    ],
)
def test_a_closed_set_is_a_few_short_labels_that_come_again(references: list[str], closed: bool):
    assert bool(closed_set(references)) is closed


def test_what_a_program_grades_has_a_kind_by_its_score_until_somebody_labels_it():
    mostly_right = failures(tried("By noon.", "By noon.", "At night."))
    assert (mostly_right.shares, mostly_right.kinds) == ({}, {"edge_case": 1.0})
    assert len(mostly_right.unlabelled) == 1
    mostly_wrong = failures(tried("By noon.", "At night.", "Never."))
    assert mostly_wrong.kinds == {"instruction": 1.0}
    labelled = mostly_wrong.labelled_with({mostly_wrong.items[0].key: Label("style", "person")})
    assert labelled.kinds == {"instruction": 0.5, "style": 0.5}
    assert labelled.counts[-1].meaning.endswith("by the grader's scores they count 1 as instruction")


def test_a_judges_grade_says_nothing_of_the_kind():
    judge = {
        "name": "judge",
        "type": "score_model",
        "model": "large",
        "input": [{"role": "user", "content": "{{sample.output_text}}"}],
    }
    asked = measured("?", "!")
    found = failures(compare_prompts([Evaluation("base", asked.prompt, judge, asked.items, 64, 0.0)]))
    assert found.kinds == {}


def test_a_wrong_number_was_reasoned_wrongly():
    numbers = classified(("12", "13"), ("7", "none"))
    assert failures(numbers).kinds == {"format": 0.5, "reasoning": 0.5}


def test_another_test_is_refused():
    with pytest.raises(DataError, match=r"faq.csv holds other questions than were asked"):
        failures(tried("?"), test=ASKED)
    with pytest.raises(DataError, match="0 failures are none to look at"):
        failures(tried("?"), at_most=0)


def test_only_wrong_answers_of_the_best_prompt_are_failures():
    found = failures(compare_prompts([measured("?", "?"), measured("By noon.", "!", prompt=Prompt("best"))]))
    assert [failed.item.answer for failed in found.items] == ["!"]
    assert (found.prompt.name, found.found) == ("best", 1)
    assert failures(tried("By noon.")).items == ()


def test_a_sample_is_drawn_the_same_way_each_time_and_says_so():
    many = tried(*40 * "?")
    found = failures(many, at_most=10)
    assert found == failures(many, at_most=10)
    assert found != failures(many, at_most=10, seed=1)
    assert (len(found.items), found.found) == (10, 40)
    assert repr(found) == "<a sample of 10 of 40 failures of base, few-shot: 10 not labelled>"


def test_shares_are_of_the_labelled_ones_and_the_others_are_counted_apart():
    found = failures(tried("BY NOON.", "by noon.", "night", "never"))
    labels = {found.unlabelled[0].key: Label("style", "person")}
    found = found.labelled_with(labels)
    assert found.shares == {"format": pytest.approx(2 / 3), "style": pytest.approx(1 / 3)}
    assert list(found.shares) == ["format", "style"]
    assert (len(found.labelled), len(found.unlabelled)) == (3, 1)
    assert found.labelled_by == {"rule": 2, "person": 1}


def test_without_a_label_there_are_no_shares():
    assert failures(tried("night")).shares == {}


def test_a_person_overrules_a_rule():
    found = failures(tried("BY NOON."))
    said = found.labelled_with({found.items[0].key: Label("instruction", "person")})
    assert said.labelled_by == {"person": 1}


def test_the_list_of_data_to_collect_has_the_question_the_answers_and_the_label():
    found = failures(tried("BY NOON.", "<b>"))
    lines = {line["answer"]: line for line in map(json.loads, found.to_jsonl().splitlines())}
    assert (lines["BY NOON."]["kind"], lines["BY NOON."]["by"]) == ("format", "rule")
    assert (lines["<b>"]["reference"], lines["<b>"]["kind"]) == ("By noon.", None)
    assert list(found.frame.columns) == ["origin", "question", "reference", "answer", "kind", "by", "why"]
    assert len(found.frame) == 2


def test_failures_show_their_kinds_and_what_is_open(unstyled):
    page = unstyled(failures(tried("BY NOON.", "night"))._repr_html_())
    assert "2 failures of base, few-shot: 1 not labelled" in page
    assert "<td>BY NOON.</td><td>format (rule): the reference but for case and white space</td>" in page
    assert "<td>night</td><td>not labelled: counts as instruction by its score</td>" in page
    assert "None" not in page
    assert "nan" not in page


@pytest.mark.parametrize(
    ("kind", "by", "told"),
    [
        ("speling", "person", "There is no failure 'speling'; there are missing_knowledge, "),
        (None, "person", "There is no failure None"),
        ("format", "me", "'me' labels nothing; a label is by rule, person, judge"),
    ],
)
def test_a_label_that_means_nothing_is_refused(kind, by, told):
    with pytest.raises(DataError, match=told):
        Label(kind, by)


def test_the_latest_label_counts_and_survives_the_kernel(tmp_path: Path):
    project = Project("gql", tmp_path / "gql")
    open_labels(project).label("a", "style")
    open_labels(project).label("b", "format")
    open_labels(project).label("a", "reasoning", by="judge", why="large")
    assert open_labels(project).latest == {
        "b": Label("format", "person"),
        "a": Label("reasoning", "judge", "large"),
    }


def test_a_label_can_be_taken_back(tmp_path: Path):
    labels = Labels(tmp_path / "labels.jsonl")
    labels.label("a", "style")
    labels.forget("a")
    assert labels.latest == {}
    assert len((tmp_path / "labels.jsonl").read_text().splitlines()) == 2


def test_a_label_belongs_to_one_answer_and_not_to_its_question():
    assert Failed(item("?")).key == Failed(item("?").answered(seconds=9.0)).key
    assert Failed(item("?")).key != Failed(item("!")).key


def test_a_line_that_is_no_label_is_told(tmp_path: Path):
    (tmp_path / "labels.jsonl").write_text('{"failure": "a", "kind": "speling", "by": "person"}\n')
    with pytest.raises(DataError, match="There is no failure 'speling'"):
        Labels(tmp_path / "labels.jsonl").latest  # noqa: B018


class Judge:
    """A model that always replies the same."""

    def __init__(self, reply: str) -> None:
        self.reply, self.asked = reply, list[dict[str, object]]()
        app = Starlette(routes=[Route("/v1/chat/completions", self.complete, methods=["POST"])])
        http = TestClient(app, base_url="http://testserver/v1/")
        self.client = OpenAI(
            base_url="http://testserver/v1/", api_key="test", http_client=http, max_retries=0
        )

    async def complete(self, request: Request) -> JSONResponse:
        self.asked.append(await request.json())
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": self.reply},
            "finish_reason": "stop",
        }
        return JSONResponse(
            {"id": "c", "object": "chat.completion", "created": 0, "model": "large", "choices": [choice]}
        )


def test_a_judge_labels_what_nobody_has_and_is_marked_as_a_judge(tmp_path: Path):
    judge, labels = Judge(" Reasoning.\n"), Labels(tmp_path / "labels.jsonl")
    found = failures(tried("BY NOON.", "night", "never", prompt=Prompt("best", system="Be precise.")))
    labels.label(found.unlabelled[0].key, "style")
    told = ask_judge(judge.client, "large", found, labels)
    assert told.labelled_by == {"rule": 1, "person": 1, "judge": 1}
    [judged] = [failed for failed in told.items if failed.label and failed.label.by == "judge"]
    assert judged.label == Label("reasoning", "judge", "large")
    [asked] = judge.asked
    system, user = asked["messages"]
    assert all(kind in system["content"] for kind in FAILURES)
    assert all(text in user["content"] for text in ("Be precise.", judged.item.question, judged.item.answer))


def test_a_judge_is_asked_once(tmp_path: Path):
    judge, labels = Judge("style"), Labels(tmp_path / "labels.jsonl")
    found = failures(tried("night"))
    ask_judge(judge.client, "large", found, labels)
    ask_judge(judge.client, "large", found, labels)
    assert len(judge.asked) == 1


def test_a_judge_that_names_no_kind_leaves_the_failure_open(tmp_path: Path):
    told = ask_judge(
        Judge("bad").client, "large", failures(tried("night")), Labels(tmp_path / "labels.jsonl")
    )
    assert len(told.unlabelled) == 1


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        ("retrieval_miss", "retrieval_miss"),
        ("It is an Edge case.", "edge_case"),
        ("**tool_use**", "tool_use"),
        ("style or format", None),
        ("I cannot tell", None),
        ("", None),
    ],
)
def test_a_reply_is_a_label_only_if_it_names_exactly_one(reply, kind):
    assert named(reply) == kind
