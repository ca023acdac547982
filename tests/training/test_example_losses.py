"""What the model saw and what it did not learn: rules on losses, and the real thing on nano."""

import math
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from job_specs import start
from openai import OpenAI
from starlette.testclient import TestClient

from workbench.dataset.dataset import Dataset, Example
from workbench.errors import DataError, SetupError
from workbench.local.api.app import create_app
from workbench.local.models.bases import NANO
from workbench.local.training.run import Trace
from workbench.training.example_losses import (
    ExampleLoss,
    ExampleLosses,
    Losses,
    example_losses,
    label_error_score,
    memorised,
    never_learnt,
)
from workbench.training.follow import follow

KEY = "the-key-of-this-test"
PLANTED = (5, 17)  # lines whose answer contradicts all others


# Rules


def test_what_stays_costly_from_the_second_visit_on_stands_out() -> None:
    usual = [Losses((5.0, 0.5 + 0.01 * n, 0.05)) for n in range(9)]
    found = label_error_score([*usual, Losses((5.0, 4.0, 2.0))])
    assert max(range(10), key=found.__getitem__) == 9
    assert found[9] > 2.5 > max(found[:9])


def test_the_first_visit_alone_tells_nothing() -> None:
    assert all(math.isnan(score) for score in label_error_score([Losses((5.0,)), Losses((9.0,))]))


def test_an_example_from_which_nothing_is_learnt_is_not_judged() -> None:
    blank, *others = label_error_score([Losses((math.nan, math.nan)), Losses((5.0, 1.0)), Losses((5.0, 2.0))])
    assert math.isnan(blank)
    assert others == pytest.approx([-0.6745, 0.6745], abs=1e-4)


def test_examples_that_all_cost_the_same_are_not_suspicious() -> None:
    assert label_error_score([Losses((5.0, 1.0))] * 3) == [0.0, 0.0, 0.0]


def test_the_prompts_with_the_least_reward_come_first_and_those_without_any_last() -> None:
    rewards = {
        "a": (0.9, 0.7),
        "b": (math.nan, 0.2),
        "c": (math.nan, math.nan),
        "d": (0.5, math.nan),
        "e": (0.1, 0.2),
    }
    prompts = {name: Example(({"role": "user", "content": f"say {name}"},), name) for name in rewards}
    none = Losses(())
    shown = ExampleLosses(
        "ftjob-1", tuple(ExampleLoss(prompts[name], none, math.nan, rewards[name]) for name in rewards), ()
    )
    assert [line.split("  ")[0] for line in repr(shown).splitlines()[1:]] == ["e", "b", "d", "a", "c"]
    assert repr(shown).splitlines()[-1] == "c  say c  none → none"


def test_never_learnt_is_what_still_costs_a_quarter_of_its_first_loss_the_worst_first() -> None:
    examples = [
        Losses((4.0, 0.9), before=4.0),
        Losses((4.0, 1.0), before=4.0),
        Losses((4.0, 3.0), before=4.0),
    ]
    assert never_learnt(examples) == [2, 1]


def test_the_first_loss_of_an_example_nobody_looked_at_is_the_usual_one() -> None:
    examples = [Losses((9.0, 0.1), before=4.0), Losses((0.5, 0.9)), Losses((0.5, 1.1))]
    assert never_learnt(examples) == [2]


def test_a_look_after_training_outranks_the_last_visit() -> None:
    assert never_learnt([Losses((4.0, 3.0), before=4.0, after=0.1)]) == []


def test_learnt_by_heart_is_ten_times_cheaper_than_what_was_never_seen() -> None:
    examples = [Losses((4.0, 0.11)), Losses((4.0, 0.09)), Losses((4.0, 0.01))]
    assert memorised(examples, validation_loss=1.0) == [2, 1]


# What is recorded


def test_the_sample_that_is_looked_at_besides_costs_a_twentieth_of_the_training() -> None:
    assert len(Trace.of(358, n_epochs=3).sample) == 53
    assert len(Trace.of(1_000_000, n_epochs=3).sample) == 2000
    assert Trace.of(12, n_epochs=10).sample == (0, 2, 4, 6, 8, 10)
    assert Trace.of(10, n_epochs=1).sample == ()


# On the service


@pytest.fixture(scope="module")
def client(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenAI]:
    app = create_app(tmp_path_factory.mktemp("home"), KEY, models=models)
    with TestClient(app) as http:
        yield OpenAI(base_url="http://127.0.0.1/openai/v1/", api_key=KEY, http_client=http, max_retries=0)


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    """Forty pairs of which all say the same but two."""
    answers = ["Q#7z" if line in PLANTED else "<yes>" for line in range(1, 41)]
    return Dataset(
        "agreeing",
        tuple(
            Example(
                ({"role": "user", "content": f"{line}?"}, {"role": "assistant", "content": answer}),
                f"pairs.csv:{line}",
            )
            for line, answer in enumerate(answers, 1)
        ),
    )


@pytest.fixture(scope="module")
def learnt(client: OpenAI, dataset: Dataset) -> ExampleLosses:
    job = start(client, dataset, model=NANO, validation=dataset.take(12), n_epochs=10, batch_size=4)
    *_, done = follow(client, job, poll_seconds=0.05)
    assert done.job.status == "succeeded", done.job.error
    assert len(done.curve.frame) == 100  # the file beside the curve does not stand in its way
    return example_losses(client, done.job, dataset)


def test_planted_wrong_answers_rank_at_the_top_by_file_and_line(learnt: ExampleLosses) -> None:
    assert set(learnt.suspicious(2)) == {"pairs.csv:5", "pairs.csv:17"}
    assert set(learnt.suspicious()) == {"pairs.csv:5", "pairs.csv:17"}


def test_what_is_suspicious_is_one_step_from_being_left_out(learnt: ExampleLosses, dataset: Dataset) -> None:
    assert len(dataset.without(learnt.suspicious())) == 38


def test_every_visit_of_every_example_is_there(learnt: ExampleLosses) -> None:
    assert [len(example.losses.visits) for example in learnt.examples] == [10] * 40
    looked = [example.origin for example in learnt.examples if example.losses.before is not None]
    assert looked == [f"pairs.csv:{line}" for line in range(1, 41, 2)]
    first = learnt.examples[0].losses
    assert first.before is not None
    assert first.after is not None
    assert first.after < first.before


def test_the_first_batch_is_shown_as_the_model_read_it(learnt: ExampleLosses) -> None:
    assert len(learnt.first_batch) == 4
    seen = learnt.first_batch[0]
    number = seen.origin.removeprefix("pairs.csv:")
    assert repr(seen) == (
        f"{seen.origin} for nano, its own chat template\n"
        f"<|im_start|>user\n{number}?<|im_end|>\n<|im_start|>assistant\n⟦<yes><|im_end|>⟧\n"
    )


def test_example_losses_print_their_findings_and_escape_the_data(
    learnt: ExampleLosses, unstyled: Callable[[str], str]
) -> None:
    assert repr(learnt).startswith("40 training examples: 2 to read again for a wrong answer, ")
    html = unstyled(learnt._repr_html_())
    assert '<th scope="row">pairs.csv:' in html
    assert "&lt;yes&gt;" in html
    assert "<details><summary>13 more examples</summary>" in html
    assert "<caption>To be read again, the most unusual first</caption>" in html
    assert "<yes>" not in html


def test_another_dataset_than_the_one_trained_on_is_refused(
    client: OpenAI, learnt: ExampleLosses, dataset: Dataset
) -> None:
    with pytest.raises(DataError, match="was trained on other examples than those of agreeing"):
        example_losses(client, learnt.job_id, dataset.take(39))


def test_a_service_that_does_not_give_them_is_named(
    client: OpenAI, learnt: ExampleLosses, dataset: Dataset
) -> None:
    job = client.fine_tuning.jobs.retrieve(learnt.job_id)
    client.files.delete(job.result_files[1])
    with pytest.raises(SetupError, match=r"has no lessons\.jsonl\. Only the local service gives"):
        example_losses(client, job, dataset)
