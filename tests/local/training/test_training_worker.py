"""Real jobs on the real service with the official client: files in, curve and tuned model out."""

import csv
import io
import json
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import openai
import psutil
import pytest
from job_specs import start
from job_worker import worker_of
from openai import OpenAI
from openai.types.fine_tuning import FineTuningJob
from starlette.testclient import TestClient

from workbench.dataset.dataset import Dataset, Example
from workbench.local import process
from workbench.local.api.app import create_app
from workbench.local.models.bases import NANO, SMOLLM2
from workbench.training.diagnosis import diagnose
from workbench.training.example_losses import example_losses
from workbench.training.follow import Progress, follow

KEY = "the-key-of-this-test"
COLORS = ("red", "blue", "green", "pink", "gold", "gray", "teal", "lime", "rose", "navy", "plum", "mint")
LAMP = [{"type": "function", "function": {"name": "lamp"}}]
GRADER = {
    "type": "string_check",
    "name": "exact",
    "input": "{{sample.output_text}}",
    "reference": "{{item.answer}}",
    "operation": "eq",
}


def shouting(words: tuple[str, ...] = COLORS) -> Dataset:
    return Dataset(
        "shouting",
        tuple(
            Example(
                (
                    {"role": "system", "content": "Shout."},
                    {"role": "user", "content": f"say {word}"},
                    {"role": "assistant", "content": word.upper()},
                ),
                f"test:{number}",
            )
            for number, word in enumerate(words, 1)
        ),
    )


@pytest.fixture(scope="module")
def client(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenAI]:
    """One service for all tests here: its forkserver loads torch once."""
    app = create_app(tmp_path_factory.mktemp("home"), KEY, models=models)
    with TestClient(app) as http:
        yield OpenAI(base_url="http://127.0.0.1/openai/v1/", api_key=KEY, http_client=http, max_retries=0)


def shout_job(client: OpenAI, *, suffix: str) -> FineTuningJob:
    return start(
        client,
        shouting(),
        model=NANO,
        validation=shouting(COLORS[:4]),
        n_epochs=10,
        batch_size=4,
        suffix=suffix,
        grader=GRADER,
    )


@pytest.fixture(scope="module")
def finished(client: OpenAI) -> Progress:
    """A job on nano that ran to its end: 12 rows, batches of 4, 10 epochs, 30 steps."""
    job = shout_job(client, suffix="loud")
    *_, last = follow(client, job, poll_seconds=0.05)
    return last


def upload(client: OpenAI, content: bytes) -> str:
    return client.files.create(file=("train.jsonl", content), purpose="fine-tune").id


def ended(client: OpenAI, job_id: str) -> Progress:
    *_, last = follow(client, job_id, poll_seconds=0.05)
    return last


# From file to tuned model


def test_a_job_ends_with_a_tuned_model_named_as_on_azure(finished: Progress) -> None:
    job = finished.job
    assert job.status == "succeeded"
    assert job.fine_tuned_model == f"nano.ft-{job.id.removeprefix('ftjob-')}-loud"
    assert job.hyperparameters.n_epochs == 10
    assert job.trained_tokens is not None
    assert job.trained_tokens % 10 == 0
    assert job.error is None


def test_the_log_tells_the_story_in_azures_words(finished: Progress) -> None:
    reported = [event.message for event in finished.events]
    results = finished.job.result_files[0]
    assert reported[:10] == [
        "Job enqueued. Waiting for jobs ahead to complete.",
        "Preprocessing running for file training file.",
        "Preprocessing completed for file training file.",
        "Preprocessing completed for file validation file.",
        "Job started.",
        "Data Import started.",
        "Finetuning started.",
        "Job queued, waiting for GPUs.",
        "Training started.",
        f"Created results file: {results}",
    ]
    assert reported[10].startswith("Step 1: training loss=")
    assert reported[-4:-1] == [
        "Job succeeded.",
        "Model Evaluation Passed.",
        f"Completed results file: {results}",
    ]
    assert reported[-1].startswith("Training tokens billed: ")


def test_the_result_file_has_every_step_once_and_the_loss_falls(client: OpenAI, finished: Progress) -> None:
    content = client.files.content(finished.job.result_files[0]).read()
    rows = list(csv.DictReader(io.StringIO(content.decode())))
    assert [int(row["step"]) for row in rows] == list(range(1, 31))
    losses = [float(row["train_loss"]) for row in rows]
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])
    assert rows[0]["valid_loss"]
    assert not rows[1]["valid_loss"]
    assert [int(row["step"]) for row in rows if row["full_valid_loss"]] == list(range(3, 31, 3))
    assert rows[-1]["full_valid_mean_reward"] != ""


def test_the_last_three_epochs_stay_usable(client: OpenAI, finished: Progress) -> None:
    kept = list(client.fine_tuning.jobs.checkpoints.list(finished.job.id))
    name = finished.job.fine_tuned_model
    assert [(checkpoint.step_number, checkpoint.fine_tuned_model_checkpoint) for checkpoint in kept] == [
        (30, name),
        (27, f"{name}:ckpt-step-27"),
        (24, f"{name}:ckpt-step-24"),
    ]
    for checkpoint in kept:
        assert answer(client, checkpoint.fine_tuned_model_checkpoint, "say red") is not None


def test_a_tuned_model_is_the_base_for_another_job(client: OpenAI, finished: Progress) -> None:
    job = start(client, shouting(), model=str(finished.job.fine_tuned_model), n_epochs=1, batch_size=4)
    more = ended(client, job.id)
    assert more.job.status == "succeeded"
    assert more.curve.frame["train_loss"].iloc[0] < 0.8 * finished.curve.frame["train_loss"].iloc[0]


def test_the_same_content_is_not_trained_twice(client: OpenAI, finished: Progress) -> None:
    again = shout_job(client, suffix="another-name")
    assert again.id == finished.job.id


def test_the_same_data_and_seed_give_the_same_curve(client: OpenAI, finished: Progress) -> None:
    files = (str(finished.job.training_file), str(finished.job.validation_file))
    hyperparameters = {"n_epochs": 10, "batch_size": 4, "learning_rate_multiplier": "auto"}
    job = client.fine_tuning.jobs.create(
        model=NANO,
        training_file=files[0],
        validation_file=files[1],
        seed=0,
        method={"type": "supervised", "supervised": {"hyperparameters": hyperparameters, "grader": GRADER}},  # type: ignore[typeddict-unknown-key,typeddict-item]
    )
    assert ended(client, job.id).curve.frame.equals(finished.curve.frame)


def test_auto_is_resolved_by_the_size_of_the_data(client: OpenAI) -> None:
    job = client.fine_tuning.jobs.create(model=NANO, training_file=upload(client, shouting().to_jsonl()))
    assert job.hyperparameters.n_epochs == -1
    used = ended(client, job.id).job.hyperparameters
    assert (used.n_epochs, used.batch_size, used.learning_rate_multiplier) == (10, 4, 1.0)


@pytest.fixture(scope="module")
def calling(client: OpenAI) -> Progress:
    """A job on nano, whose template knows no tools: 10 rows that end with the same two calls."""
    calls = [
        {
            "id": f"{place}",
            "type": "function",
            "function": {"name": "lamp", "arguments": json.dumps({"on": on})},
        }
        for place, on in enumerate((True, False))
    ]
    rows = tuple(
        Example(
            ({"role": "user", "content": f"blink {number}"}, {"role": "assistant", "tool_calls": calls}),
            f"lamp:{number}",
            {"tools": LAMP},
        )
        for number in range(10)
    )
    data = Dataset("lamp", rows)
    return ended(
        client,
        start(client, data, model=NANO, n_epochs=6, batch_size=1, learning_rate_multiplier=4).id,
    )


def test_rows_that_end_with_calls_are_trained(calling: Progress) -> None:
    assert calling.job.status == "succeeded", calling.job.error
    losses = calling.curve.frame["train_loss"]
    assert losses.iloc[-5:].mean() < 0.1 * losses.iloc[:5].mean()


def test_a_model_trained_on_calls_makes_them_and_reads_their_results(
    client: OpenAI, calling: Progress
) -> None:
    asked: dict[str, object] = {
        "model": calling.job.fine_tuned_model,
        "tools": LAMP,
        "temperature": 0,
        "max_tokens": 200,
    }
    messages: list[object] = [{"role": "user", "content": "blink 3"}]
    choice = client.chat.completions.create(messages=messages, **asked).choices[0]  # type: ignore[call-overload]
    made = [(call.function.name, call.function.arguments) for call in choice.message.tool_calls]
    assert made == [("lamp", '{"on": true}'), ("lamp", '{"on": false}')]
    assert (choice.finish_reason, choice.message.content) == ("tool_calls", None)
    with client.chat.completions.stream(messages=messages, **asked) as stream:  # type: ignore[arg-type]
        streamed = stream.get_final_completion().choices[0]
    assert [(c.function.name, c.function.arguments) for c in streamed.message.tool_calls or ()] == made
    results = [
        {"role": "tool", "tool_call_id": call.id, "content": "done"} for call in choice.message.tool_calls
    ]
    more = [*messages, choice.message.model_dump(exclude_none=True), *results]
    answered = client.chat.completions.create(messages=more, **asked | {"max_tokens": 1})  # type: ignore[call-overload]
    assert answered.usage.completion_tokens == 1


# Preference pairs


def preferring(words: tuple[str, ...] = COLORS) -> Dataset:
    """Pairs that prefer shouting."""
    return Dataset(
        "pairs",
        tuple(
            Example(
                ({"role": "user", "content": f"say {word}"},),
                f"pairs:{number}",
                {
                    "preferred_output": [{"role": "assistant", "content": word.upper()}],
                    "non_preferred_output": [{"role": "assistant", "content": word}],
                },
            )
            for number, word in enumerate(words, 1)
        ),
    )


def pair_job(client: OpenAI, *, suffix: str, model: str = NANO) -> FineTuningJob:
    return start(
        client,
        preferring(),
        model=model,
        validation=preferring(COLORS[8:]),
        n_epochs=10,
        batch_size=1,
        learning_rate_multiplier=2.0,
        l2_multiplier=0.1,
        suffix=suffix,
    )


@pytest.fixture(scope="module")
def preferred(client: OpenAI) -> Progress:
    """A job on pairs that was paused after a few steps, resumed, and ran to its end: 120 steps."""
    job = pair_job(client, suffix="prefers")
    next(now for now in follow(client, job, poll_seconds=0.02) if now.curve.steps >= 3 or now.ended)
    client.fine_tuning.jobs.pause(job.id)
    looks = (now.job.status for now in follow(client, job, poll_seconds=0.02))
    assert next(status for status in looks if status not in ("running", "pausing")) == "paused"
    client.fine_tuning.jobs.resume(job.id)
    return ended(client, job.id)


def test_a_job_on_pairs_learns_the_preference_and_writes_its_columns(
    client: OpenAI, preferred: Progress
) -> None:
    assert preferred.job.status == "succeeded", preferred.job.error
    used = preferred.job.to_dict()["hyperparameters"]
    assert used == {"n_epochs": 10, "batch_size": 1, "learning_rate_multiplier": 2.0, "l2_multiplier": 0.1}
    content = client.files.content(preferred.job.result_files[0]).text
    assert content.splitlines()[0] == (
        "step,train_loss,valid_loss,full_valid_loss,train_rewards/chosen,train_rewards/rejected,"
        "train_rewards/margins,train_rewards/accuracies,train_logps/chosen,train_logps/rejected,"
        "full_valid_rewards/chosen,full_valid_rewards/rejected,full_valid_rewards/margins,"
        "full_valid_rewards/accuracies,full_valid_logps/chosen,full_valid_logps/rejected"
    )
    curve = preferred.curve
    assert (curve.method, curve.steps, len(curve.measured("rewards/margins"))) == ("dpo", 120, 120)
    assert 0.68 < curve.frame["train_loss"].iloc[0] < 0.71
    assert curve.final["full_valid_rewards/accuracies"] == 1.0
    assert curve.final["full_valid_rewards/margins"] > 0.2
    assert diagnose(curve).flags == ()


def test_a_paused_and_resumed_job_on_pairs_has_the_curve_of_one_that_ran_through(
    client: OpenAI, preferred: Progress
) -> None:
    hyperparameters = {
        "n_epochs": 10, "batch_size": 1, "learning_rate_multiplier": 2.0, "l2_multiplier": 0.1, "beta": 0.1
    }  # fmt: skip
    job = client.fine_tuning.jobs.create(
        model=NANO,
        training_file=str(preferred.job.training_file),
        validation_file=preferred.job.validation_file,
        seed=0,
        method={"type": "dpo", "dpo": {"hyperparameters": hyperparameters}},  # type: ignore[typeddict-unknown-key]
    )
    through = ended(client, job.id)
    assert through.curve.frame.equals(preferred.curve.frame)


def test_a_tuned_model_is_the_reference_of_the_job_that_starts_from_it(
    client: OpenAI, finished: Progress
) -> None:
    stacked = ended(client, pair_job(client, suffix="both", model=str(finished.job.fine_tuned_model)).id)
    assert stacked.job.status == "succeeded", stacked.job.error
    assert 0.68 < stacked.curve.frame["train_loss"].iloc[0] < 0.71
    assert stacked.curve.final["full_valid_rewards/accuracies"] == 1.0
    assert answer(client, str(stacked.job.fine_tuned_model), "say red") is not None


def test_each_pair_has_its_losses_and_the_first_batch_shows_both_answers(
    client: OpenAI, preferred: Progress
) -> None:
    losses = example_losses(client, preferred.job, preferring())
    assert losses.examples[0].losses.before == pytest.approx(0.693, abs=0.01)
    assert losses.never_learnt == ()
    first = losses.first_batch[0]
    answers = [[piece.text for piece in side if piece.trained] for side in (first.pieces, first.rejected)]
    word = first.origin.partition(":")[2]
    shown = COLORS[int(word) - 1]
    assert answers == [[f"{shown.upper()}<|im_end|>"], [f"{shown}<|im_end|>"]]


@pytest.mark.parametrize(
    ("line", "finding"),
    [
        (
            {"input": {"messages": [{"role": "user", "content": "a"}]}, "preferred_output": [
                {"role": "assistant", "content": "b"}], "non_preferred_output": [
                {"role": "assistant", "content": "b"}]},
            "both outputs are the same, so there is nothing to prefer",
        ),
        (
            {"input": {"messages": [{"role": "user", "content": "a"}]}, "preferred_output": [
                {"role": "assistant", "content": "b"}]},
            "(it has input, preferred_output)",
        ),
        ({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]},
            "there is no input"),
    ],
)  # fmt: skip
def test_a_line_that_is_no_pair_fails_the_job_with_its_number(
    client: OpenAI, line: dict[str, object], finding: str
) -> None:
    file = upload(client, preferring().to_jsonl() + json.dumps(line).encode() + b"\n")
    job = client.fine_tuning.jobs.create(model=NANO, training_file=file, method={"type": "dpo"})
    failed = ended(client, job.id).job
    assert (failed.status, failed.error and failed.error.param) == ("failed", "training_file")
    message = str(failed.error and failed.error.message)
    assert message.startswith(("train.jsonl:13", "train.jsonl line 13"))
    assert finding in message


# Data that cannot be used, and a change of mind


def test_too_few_examples_fail_the_job_in_the_services_words(client: OpenAI) -> None:
    job = client.fine_tuning.jobs.create(
        model=NANO, training_file=upload(client, shouting(COLORS[:7]).to_jsonl())
    )
    failed = ended(client, job.id).job
    assert failed.status == "failed"
    assert failed.error is not None
    assert failed.error.code == "invalid_n_examples"
    assert failed.error.message == "Training file has 7 example(s), but must have at least 10 examples"


def test_a_broken_line_fails_the_job_with_its_number(client: OpenAI) -> None:
    content = shouting().to_jsonl() + b"{not json\n"
    job = client.fine_tuning.jobs.create(model=NANO, training_file=upload(client, content))
    failed = ended(client, job.id).job
    assert failed.status == "failed"
    assert failed.error is not None
    assert failed.error.param == "training_file"
    assert "13" in str(failed.error.message)


def test_a_conversation_without_an_answer_fails_the_job_with_its_line(client: OpenAI) -> None:
    content = shouting().to_jsonl() + b'{"messages": [{"role": "user", "content": "say oak"}]}\n'
    job = client.fine_tuning.jobs.create(model=NANO, training_file=upload(client, content))
    failed = ended(client, job.id).job
    assert failed.status == "failed"
    message = str(failed.error and failed.error.message)
    assert message.startswith("train.jsonl:13")
    assert "the last message is not the assistant's" in message


def test_a_rate_that_blows_up_the_loss_fails_the_job_and_says_what_to_do(client: OpenAI) -> None:
    job = client.fine_tuning.jobs.create(
        model=NANO,
        training_file=upload(client, shouting().to_jsonl()),
        method={
            "type": "supervised",
            "supervised": {"hyperparameters": {"n_epochs": 10, "learning_rate_multiplier": 1e30}},
        },
    )
    failed = ended(client, job.id).job
    assert failed.status == "failed"
    assert "learning_rate_multiplier" in str(failed.error and failed.error.message)


def test_a_cancelled_job_stops_and_the_next_one_runs(client: OpenAI) -> None:
    file = upload(client, shouting().to_jsonl())
    long = {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 50, "batch_size": 1}}}
    first = client.fine_tuning.jobs.create(model=NANO, training_file=file, method=long)  # type: ignore[arg-type]
    next(progress for progress in follow(client, first.id, poll_seconds=0.05) if progress.curve.steps >= 3)
    waiting = client.fine_tuning.jobs.create(
        model=NANO, training_file=file, hyperparameters={"n_epochs": 1, "batch_size": 4}
    )
    assert client.fine_tuning.jobs.cancel(first.id).status == "cancelled"
    assert ended(client, waiting.id).job.status == "succeeded"
    stopped = ended(client, first.id)
    assert stopped.job.status == "cancelled"
    assert stopped.curve.steps < 600


# Chat


def answer(client: OpenAI, model: str, text: str, **settings: object) -> str | None:
    messages = [{"role": "system", "content": "Shout."}, {"role": "user", "content": text}]
    settings = {"max_tokens": 8, "temperature": 0} | settings
    completion = client.chat.completions.create(model=model, messages=messages, **settings)  # type: ignore[call-overload]
    return str(completion.choices[0].message.content)


def test_a_stream_says_what_the_whole_answer_says(client: OpenAI, finished: Progress) -> None:
    model = str(finished.job.fine_tuned_model)
    whole = answer(client, model, "say gold")
    stream = client.chat.completions.create(
        model=model,
        messages=[{"role": "system", "content": "Shout."}, {"role": "user", "content": "say gold"}],
        max_tokens=8,
        temperature=0,
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = list(stream)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == whole
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens <= 8


def test_models_answer_side_by_side_as_each_does_alone(client: OpenAI, finished: Progress) -> None:
    models = [NANO, str(finished.job.fine_tuned_model)] * 6
    alone = [answer(client, model, "say teal") for model in models[:2]]
    with ThreadPoolExecutor(12) as pool:
        together = list(pool.map(lambda model: answer(client, model, "say teal"), models))
    assert together == alone * 6
    assert alone[0] != alone[1]


def test_several_answers_to_one_seeded_request_differ_and_repeat(client: OpenAI) -> None:
    def answers() -> list[str | None]:
        completion = client.chat.completions.create(
            model=NANO, messages=[{"role": "user", "content": "hi"}], n=3, seed=5, max_tokens=12
        )
        return [choice.message.content for choice in completion.choices]

    first = answers()
    assert len(set(first)) == 3
    assert answers() == first


def test_a_stop_sequence_ends_the_answer_before_itself(client: OpenAI) -> None:
    whole = str(answer(client, NANO, "say red", max_tokens=16))
    stop = whole[5:7]
    assert answer(client, NANO, "say red", max_tokens=16, stop=stop) == whole[: whole.index(stop)]


def test_a_prompt_longer_than_the_context_is_refused(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="maximum context length is 8192 tokens"):
        answer(client, NANO, "x" * 9000)


# Killed in the middle


def test_killed_service_and_worker_lose_nothing(
    models: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``kill -9`` of the worker, then of the service, in the middle of a job: one job, one whole curve."""
    monkeypatch.setenv("WORKBENCH_MODELS", str(models))
    address = process.start(home)
    try:
        client = OpenAI(base_url=f"{address.url}/openai/v1/", api_key=address.key)
        job = start(client, shouting(), model=NANO, n_epochs=10, batch_size=1)

        def step_reached(step: int) -> None:
            next(p for p in follow(client, job.id, poll_seconds=0.02) if p.curve.steps >= step or p.ended)

        step_reached(25)
        os.kill(worker_of(address.pid, home, job.id), signal.SIGKILL)
        step_reached(70)
        os.kill(address.pid, signal.SIGKILL)
        psutil.Process(address.pid).wait(10)
        again = process.start(home)
        assert (again.url, again.key) == (address.url, address.key)
        last = ended(client, job.id)

        assert last.job.status == "succeeded"
        assert [found.id for found in client.fine_tuning.jobs.list()] == [job.id]
        assert list(last.curve.frame.index) == list(range(1, 121))
        untouched = client.fine_tuning.jobs.create(
            model=NANO,
            training_file=job.training_file,
            seed=0,
            method={
                "type": "supervised",
                "supervised": {"hyperparameters": {"n_epochs": 10, "batch_size": 1}},
            },
        )
        assert ended(client, untouched.id).curve.frame.equals(last.curve.frame)
    finally:
        process.stop(home)


# The real model


def test_smollm2_learns_in_a_few_steps(client: OpenAI) -> None:
    """Loads the real weights (fetched as a package the first time) and takes five real steps."""
    job = start(
        client, shouting(COLORS + tuple(c[::-1] for c in COLORS[:8])), model=SMOLLM2, n_epochs=1, batch_size=4
    )
    last = ended(client, job.id)
    assert last.job.status == "succeeded"
    losses = last.curve.frame["train_loss"]
    assert len(losses) == 5
    assert losses.iloc[-1] < 0.7 * losses.iloc[0]
    assert answer(client, str(last.job.fine_tuned_model), "say red")


def test_a_grader_in_python_grades_while_a_job_trains(client: OpenAI) -> None:
    source = (
        "def grade(sample, item):\n    if item['answer'] == 'RED':\n        raise ValueError('no red')\n"
        "    return 0.5\n"
    )
    job = start(
        client,
        shouting(),
        model=NANO,
        validation=shouting(COLORS[:4]),
        n_epochs=1,
        batch_size=4,
        suffix="graded",
        grader={"type": "python", "name": "half", "source": source},
    )
    last = ended(client, job.id)
    assert last.job.status == "succeeded"
    assert last.curve.frame["full_valid_mean_reward"].dropna().unique().tolist() == [0.5]
    note = "The grader gave 1 of 4 answers no score: ValueError: no red, line 3 of grader.source"
    assert note in [event.message for event in last.events]
