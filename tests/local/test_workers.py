"""Real jobs on nano, interrupted on purpose: paused, damaged, out of disk; the curve does not show it."""

import errno
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
from openai import OpenAI
from openai.types.fine_tuning import FineTuningJob
from starlette.testclient import TestClient

from workbench.local import workers
from workbench.local.api.app import create_app
from workbench.local.emulation import Emulation
from workbench.local.store.store import Store
from workbench.local.training.training_worker import exit_code_of
from workbench.training.follow import Progress, follow

KEY = "the-key-of-this-test"
WORDS = ("red", "blue", "green", "pink", "gold", "gray", "teal", "lime", "rose", "navy", "plum", "mint")
LINE = '{"messages": [{"role": "user", "content": "say %s"}, {"role": "assistant", "content": "%s"}]}\n'
DATA = "".join(LINE % (word, word.upper()) for word in WORDS).encode()


@pytest.fixture(scope="module")
def http(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """One service for all tests here: its forkserver loads torch once."""
    app = create_app(tmp_path_factory.mktemp("home"), KEY, models=models, emulation=Emulation(quota="azure"))
    with TestClient(app) as http:
        yield http


@pytest.fixture(scope="module")
def client(http: TestClient) -> OpenAI:
    return OpenAI(base_url="http://127.0.0.1/openai/v1/", api_key=KEY, http_client=http, max_retries=0)


@pytest.fixture
def store(http: TestClient) -> Store:
    return http.app.state.store


@pytest.fixture(scope="module")
def training_file(client: OpenAI) -> str:
    return client.files.create(file=("train.jsonl", DATA), purpose="fine-tune").id


def start(client: OpenAI, training_file: str, *, n_epochs: int = 4, **more: object) -> FineTuningJob:
    """12 rows one by one: 12 steps an epoch."""
    hyperparameters = {"n_epochs": n_epochs, "batch_size": 1}
    return client.fine_tuning.jobs.create(
        model="nano",
        training_file=training_file,
        validation_file=training_file,
        seed=5,
        method={"type": "supervised", "supervised": {"hyperparameters": hyperparameters}},
        **more,
    )


def until(client: OpenAI, job: str, *, step: int = 0, status: str = "") -> Progress:
    return next(
        now
        for now in follow(client, job, poll_seconds=0.02)
        if now.ended or now.job.status == status or (step and now.curve.steps >= step)
    )


def ended(client: OpenAI, job: str) -> Progress:
    *_, last = follow(client, job, poll_seconds=0.05)
    return last


def said(client: OpenAI, job: str) -> list[str]:
    return [event.message for event in client.fine_tuning.jobs.list_events(job, limit=100)]


def results(client: OpenAI, job: str) -> bytes:
    return client.files.content(client.fine_tuning.jobs.retrieve(job).result_files[0]).content


@pytest.fixture(scope="module")
def undisturbed(client: OpenAI, training_file: str) -> FineTuningJob:
    """The job that nobody interrupted."""
    return ended(client, start(client, training_file).id).job


def test_a_paused_job_goes_on_as_if_it_had_not_been(
    client: OpenAI, training_file: str, undisturbed: FineTuningJob
) -> None:
    job = start(client, training_file).id
    for step in (5, 30):
        until(client, job, step=step)
        assert client.fine_tuning.jobs.pause(job).status == "pausing"
        assert until(client, job, status="paused").job.status == "paused"
        assert client.fine_tuning.jobs.resume(job).status == "resuming"
    last = ended(client, job)
    assert last.job.status == "succeeded"
    assert last.job.trained_tokens == undisturbed.trained_tokens
    assert results(client, job) == results(client, undisturbed.id)
    reported = [event.message for event in last.events if "file-" not in event.message]
    *_, calm = follow(client, undisturbed.id, poll_seconds=0.05)
    assert reported == [event.message for event in calm.events if "file-" not in event.message]


def test_a_paused_job_leaves_a_model_and_frees_its_place(client: OpenAI, training_file: str) -> None:
    job = start(client, training_file).id
    until(client, job, step=3)
    client.fine_tuning.jobs.pause(job)
    until(client, job, status="paused")
    newest = client.fine_tuning.jobs.checkpoints.list(job).data[0]
    name = f"nano.ft-{job.removeprefix('ftjob-')}:ckpt-step-{newest.step_number}"
    assert newest.fine_tuned_model_checkpoint == name
    further = client.fine_tuning.jobs.create(
        model=name, training_file=training_file, hyperparameters={"n_epochs": 1, "batch_size": 4}
    )
    assert ended(client, further.id).job.status == "succeeded"
    assert client.fine_tuning.jobs.cancel(job).status == "cancelled"
    assert client.models.retrieve(name).id == name


def test_the_checkpoint_of_a_pause_stays_beside_those_of_the_last_three_epochs(
    client: OpenAI, training_file: str
) -> None:
    job = start(client, training_file).id
    until(client, job, step=1)
    client.fine_tuning.jobs.pause(job)
    until(client, job, status="paused")
    (paused, *_) = client.fine_tuning.jobs.checkpoints.list(job).data
    client.fine_tuning.jobs.resume(job)
    assert ended(client, job).job.status == "succeeded"
    steps = [checkpoint.step_number for checkpoint in client.fine_tuning.jobs.checkpoints.list(job)]
    assert sorted(steps) == sorted({paused.step_number, 24, 36, 48})


def test_a_job_that_was_to_pause_when_the_service_died_pauses_one_step_later(
    home: Path, models: Path
) -> None:
    store = Store(home)
    file = store.files.add("train.jsonl", "fine-tune", [DATA])["id"]
    hyperparameters = {"n_epochs": 2, "batch_size": 4, "learning_rate_multiplier": 1.0}
    body = {"model": "nano", "training_file": file, "hyperparameters": hyperparameters, "seed": 1}
    job = store.jobs.add(body)["id"]
    store.jobs.update(job, status="running")
    store.jobs.update(job, status="pausing")
    store.close()
    with TestClient(create_app(home, KEY, models=models)) as http:
        client = OpenAI(base_url="http://127.0.0.1/openai/v1/", api_key=KEY, http_client=http, max_retries=0)
        assert until(client, job, status="paused").curve.steps == 1
        client.fine_tuning.jobs.resume(job)
        assert ended(client, job).curve.steps == 6


def test_three_jobs_run_at_once_under_azures_quota(client: OpenAI, training_file: str, store: Store) -> None:
    jobs = [start(client, training_file, n_epochs=50).id for _ in range(4)]
    for job in jobs[:3]:
        until(client, job, step=1)
    assert [client.fine_tuning.jobs.retrieve(job).status for job in jobs] == [*["running"] * 3, "pending"]
    for job in jobs:
        client.fine_tuning.jobs.cancel(job)


@pytest.mark.parametrize("damage", ["newest", "both"])
def test_a_damaged_state_is_passed_over(
    client: OpenAI, training_file: str, store: Store, undisturbed: FineTuningJob, damage: str
) -> None:
    job = start(client, training_file).id
    until(client, job, step=25)
    client.fine_tuning.jobs.pause(job)
    until(client, job, status="paused")
    states = [store.jobs.folder(job) / name for name in ("state.pt", "state.previous.pt")]
    for state in states if damage == "both" else states[:1]:
        state.write_bytes(state.read_bytes()[: state.stat().st_size // 2])
    client.fine_tuning.jobs.resume(job)
    assert ended(client, job).job.status == "succeeded"
    assert results(client, job) == results(client, undisturbed.id)


def test_a_damaged_adapter_is_named_when_one_builds_on_it(
    client: OpenAI, training_file: str, store: Store
) -> None:
    first = ended(client, start(client, training_file, n_epochs=1).id).job
    model = store.checkpoints.model(str(first.fine_tuned_model))
    weights = model.adapter / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    job = client.fine_tuning.jobs.create(model=model.name, training_file=training_file)
    failed = ended(client, job.id).job
    assert failed.status == "failed"
    assert failed.error.message.startswith(f"The model {model.name} cannot be trained further: its adapter")


def test_a_job_waits_on_a_full_disk_and_ends_with_the_same_curve(
    client: OpenAI,
    training_file: str,
    store: Store,
    undisturbed: FineTuningJob,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(workers, "RETRY", 0.05)
    job = start(client, training_file)
    full = store.jobs.folder(job.id) / "state.new"
    full.symlink_to("/dev/full")
    waits = "The disk is full at step 10; the job waits, and goes on by itself once there is space."
    deadline = time.monotonic() + 60
    while waits not in said(client, job.id) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert client.fine_tuning.jobs.retrieve(job.id).status == "running"
    full.unlink(missing_ok=True)
    done = ended(client, job.id).job
    assert (done.status, done.error) == ("succeeded", None)
    assert results(client, job.id) == results(client, undisturbed.id)
    assert said(client, job.id).count(waits) == 1
    assert "There is space on the disk again; the job goes on from step 10." in said(client, job.id)


def test_an_error_of_the_service_itself_is_named_and_not_taken_for_a_lack_of_memory(
    client: OpenAI, training_file: str, store: Store
) -> None:
    job = start(client, training_file)
    (store.jobs.folder(job.id) / "state.new").mkdir()  # where the state of step 10 would be written
    failed = ended(client, job.id).job
    assert (failed.status, failed.error.code) == ("failed", "internalFailure")
    assert failed.error.message.startswith("The training process ended 3 times at step 10: ")
    assert "state.new" in failed.error.message
    assert failed.error.message.endswith("This is a fault of the local service, which service.log shows.")
    assert "memory" not in failed.error.message


@pytest.mark.parametrize(
    ("exit_code", "said"),
    [
        (errno.ENOMEM, "memory is too small; take a smaller batch,"),
        (-signal.SIGKILL, "it was killed from outside (SIGKILL), most often because memory is too small;"),
        (-signal.SIGSEGV, "it was ended by SIGSEGV; service.log has the last words."),
        (3, "its exit code was 3; service.log has the last words."),
    ],
)
def test_only_a_lack_of_memory_is_called_that(exit_code: int, said: str) -> None:
    assert workers.why_it_ended(exit_code).startswith(said)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (MemoryError(), errno.ENOMEM),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), errno.ENOMEM),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), errno.ENOMEM),
        (OSError(errno.ENOSPC, "No space left on device"), errno.ENOSPC),
        (RuntimeError("shape '[2, 3]' is invalid"), None),
        (OSError(errno.EACCES, "Permission denied"), None),
    ],
)
def test_memory_and_disk_have_exit_codes_of_their_own(error: Exception, code: int | None) -> None:
    assert exit_code_of(error) == code


def test_a_job_whose_file_lost_its_bytes_fails_with_that_reason(client: OpenAI, store: Store) -> None:
    file = client.files.create(file=("lost.jsonl", DATA), purpose="fine-tune").id
    store.files.path(file).unlink()
    failed = ended(client, start(client, file).id).job
    assert (failed.status, failed.error.param) == ("failed", "training_file")
    assert f"The content of {file} (lost.jsonl) is gone from the disk" in failed.error.message


def test_unsafe_data_fails_the_job_in_azures_words(client: OpenAI, training_file: str) -> None:
    job = start(client, training_file, extra_headers={"x-workbench-fault": "data-check"})
    failed = ended(client, job.id).job
    assert (failed.status, failed.error.code) == ("failed", "contentFilter")
    assert failed.error.message == (
        "The provided training data failed RAI checks for harm types: [hate_fairness, self_harm, violence]. "
        "Please fix the data and try again."
    )


def test_a_cancelled_job_cannot_be_paused_any_more(client: OpenAI, training_file: str) -> None:
    job = start(client, training_file).id
    until(client, job, step=1)
    client.fine_tuning.jobs.cancel(job)
    with pytest.raises(openai.BadRequestError, match="cannot be paused"):
        client.fine_tuning.jobs.pause(job)
