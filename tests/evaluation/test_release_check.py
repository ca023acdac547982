"""What was lost on the probes, and the gate before deployment."""

from dataclasses import replace

import pytest

from workbench.dataset.dataset import Dataset, Example
from workbench.errors import DataError
from workbench.evaluation.compare import compare
from workbench.evaluation.evaluation import Evaluation, Item
from workbench.evaluation.grader_trial import try_grader
from workbench.evaluation.graders.ready_made import grader
from workbench.evaluation.probes import forgotten
from workbench.evaluation.prompts import AS_TRAINED
from workbench.evaluation.release_check import release_check
from workbench.evaluation.requests import Answer


def answered(model: str, *scores: int, categories: int = 0) -> Evaluation:
    items = tuple(
        Item(
            f"i{n}",
            f"test.csv:{n}",
            f"Q{n}",
            "A",
            (Answer("B", "stop", 0.1, 5, 1, score=float(score)),),
            more={"category": f"c{n % categories}"} if categories else {},
        )
        for n, score in enumerate(scores)
    )
    return Evaluation(model, AS_TRAINED, grader("exact"), items, 64, 0.0)


BASE = [0] * 100
BETTER = compare(answered("base", *BASE), answered("tuned", *[1] * 60, *[0] * 40))
EQUAL = compare(answered("base", *[0, 1] * 20), answered("tuned", *[1, 0] * 20))


def probed(lost: int, of: int = 200):
    right = [1] * of
    return forgotten(
        answered("base", *right, categories=2),
        answered("tuned", *[0] * lost, *right[lost:], categories=2),
    )


def test_nothing_lost_on_many_probes_is_not_worse():
    assert probed(0).outcome == "not worse"


def test_half_of_the_probes_lost_is_worse_in_each_category():
    found = probed(100)
    assert found.outcome == "worse"
    assert found.lost == ("c0", "c1")
    assert found.verdict.endswith("Lost: c0, c1.")


def test_one_category_that_is_lost_is_enough():
    base = answered("base", *[1] * 200, categories=10)
    lost = replace(base, items=tuple(i.answered(score=float(i.more["category"] != "c3")) for i in base.items))
    found = forgotten(base, lost)
    assert found.lost == ("c3",)
    assert found.outcome == "worse"


def test_few_probes_of_which_some_are_lost_do_not_tell():
    assert probed(1, of=20).outcome == "inconclusive"


def test_the_lost_ones_are_shown():
    html = probed(3)._repr_html_()
    assert "3 of 3 probes that were lost" in html


def test_items_without_a_category_are_no_probes():
    with pytest.raises(DataError, match="has no category"):
        forgotten(answered("base", 1), answered("tuned", 1))


def test_a_model_that_is_better_and_has_lost_nothing_passes():
    found = release_check(BETTER, forgetting=probed(0))
    assert found.result == "passed"
    assert found.verdict == "Nothing that was checked speaks against deploying this model."


def test_a_model_that_is_better_and_has_forgotten_much_is_refused():
    found = release_check(BETTER, forgetting=probed(100))
    assert found.verdict == "Do not deploy this model, it fails this: nothing lost elsewhere."
    assert found.checks[1].why.endswith("What keeps more: rehearsal (REHEARSAL in 03_build_data).")


def test_what_cannot_be_told_is_no_pass():
    found = release_check(EQUAL, forgetting=probed(0))
    assert (EQUAL.outcome, found.result) == ("inconclusive", "open")
    assert found.verdict == "Not yet, this is not shown: better at the task."


def test_a_worse_model_is_refused():
    worse = compare(answered("base", *[1] * 60, *[0] * 40), answered("tuned", *BASE))
    assert release_check(worse).result == "refused"


def test_a_grader_that_can_be_tricked_refuses():
    def row(asked, said):
        return Example(
            ({"role": "user", "content": asked}, {"role": "assistant", "content": said}), "faq.csv:2"
        )

    lenient = {
        "type": "string_check",
        "name": "lenient",
        "input": "{{sample.output_text}}",
        "reference": "{{item.answer}}",
        "operation": "ilike",
    }
    trial = try_grader(lenient, Dataset("faq", (row("A?", "one"), row("B?", "two"))))
    found = release_check(BETTER, trial=trial)
    assert [(check.name, check.result) for check in found.checks] == [
        ("better at the task", "passed"),
        ("a grader to trust", "refused"),
    ]
    assert found.facts["result"] == "refused"


def test_the_card_has_the_verdict_and_a_mark_and_a_word_for_each_check(unstyled):
    card = unstyled(release_check(EQUAL, forgetting=probed(100))._repr_html_())
    assert "✕ Do not deploy this model, it fails this: nothing lost elsewhere.</p>" in card
    assert "<b>?&nbsp;open</b></td><th scope='row'>better at the task</th>" in card
    assert "<b>✕&nbsp;refused</b></td><th scope='row'>nothing lost elsewhere</th>" in card
