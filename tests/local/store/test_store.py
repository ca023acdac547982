"""The store: what was accepted stays, what was half done is invisible, nothing stands there twice."""

import contextlib
import errno
import json
import multiprocessing
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from workbench.errors import DataError, SetupError
from workbench.local.store.database import has_space, is_disk_full
from workbench.local.store.store import Store

JOB = {"model": "nano", "training_file": "file-1", "hyperparameters": {"n_epochs": -1}, "seed": 7}


@pytest.fixture
def store(home: Path) -> Iterator[Store]:
    store = Store(home)
    yield store
    store.close()


def contents(store: Store) -> list[str]:
    return sorted(path.name for name in ("files", "incoming") for path in (store.root / name).iterdir())


def on_disk(*file_ids: str) -> list[str]:
    return sorted(name for file_id in file_ids for name in (file_id, f"{file_id}.json"))


def test_a_file_is_kept_byte_for_byte(store: Store) -> None:
    file = store.files.add("faq.jsonl", "fine-tune", [b'{"a": 1}\n', b'{"a": 2}\n'])
    assert store.files.path(file["id"]).read_bytes() == b'{"a": 1}\n{"a": 2}\n'
    assert (file["bytes"], file["filename"], file["status"]) == (18, "faq.jsonl", "processed")
    assert len(file["id"]) == len("file-") + 32


def test_an_upload_that_breaks_off_leaves_nothing(store: Store) -> None:
    def chunks() -> Iterator[bytes]:
        yield b"half"
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space left") as caught:
        store.files.add("big.jsonl", "fine-tune", chunks())
    assert is_disk_full(caught.value)
    assert store.files.page(after=None, limit=10) == ([], False)
    assert contents(store) == []


def test_a_full_database_is_told_as_a_full_disk_and_loses_nothing(store: Store) -> None:
    kept = store.files.add("first.jsonl", "fine-tune", [b"1"])
    store._db.all("PRAGMA max_page_count = 1")  # SQLite's own way to have no room

    def add_until_full() -> None:
        for _ in range(1000):
            store.files.add("second.jsonl", "fine-tune", [b"2"])

    with pytest.raises(sqlite3.OperationalError, match="full") as caught:
        add_until_full()
    assert is_disk_full(caught.value)
    files, _ = store.files.page(after=None, limit=10_000)
    assert files[-1] == kept
    assert contents(store) == on_disk(*(file["id"] for file in files))


def test_files_come_in_pages_newest_first(store: Store) -> None:
    ids = [store.files.add(f"{number}.jsonl", "fine-tune", [b"x"])["id"] for number in range(5)]
    first, more = store.files.page(after=None, limit=2)
    assert ([file["id"] for file in first], more) == ([ids[4], ids[3]], True)
    rest, more = store.files.page(after=ids[3], limit=3)
    assert ([file["id"] for file in rest], more) == ([ids[2], ids[1], ids[0]], False)
    upward, more = store.files.page("fine-tune", after=ids[0], limit=1, order="asc")
    assert ([file["id"] for file in upward], more) == ([ids[1]], True)


def test_a_page_after_an_unknown_id_is_an_error(store: Store) -> None:
    with pytest.raises(DataError, match="no 'file-nowhere' in this list"):
        store.files.page(after="file-nowhere", limit=1)


@pytest.mark.parametrize("name", ["../service.db", "file-../../x", "file-" + "g" * 32, "file-", ""])
def test_no_id_leads_out_of_the_store(store: Store, name: str) -> None:
    with pytest.raises(DataError, match="no file id"):
        store.files.path(name)


def test_a_deleted_file_stays_readable_for_the_job_that_needs_it(store: Store) -> None:
    file = store.files.add("faq.jsonl", "fine-tune", [b"x"])
    job = store.jobs.add(JOB | {"training_file": file["id"]})
    assert store.files.delete(file["id"])
    assert store.files.get(file["id"]) is None
    store.tidy()
    assert store.files.path(file["id"]).read_bytes() == b"x"
    store.jobs.update(job["id"], status="cancelled")
    store.tidy()
    assert contents(store) == []


def test_deleting_twice_deletes_once(store: Store) -> None:
    file = store.files.add("faq.jsonl", "fine-tune", [b"x"])
    assert [store.files.delete(file["id"]), store.files.delete(file["id"])] == [True, False]
    assert contents(store) == []


def test_tidying_removes_what_a_killed_service_left(store: Store) -> None:
    (store.root / "incoming" / "half").write_bytes(b"half an upload")
    (store.root / "files" / ("file-" + "0" * 32 + ".json")).write_bytes(b"{}")
    (store.root / "files" / ("file-" + "1" * 32 + ".json.new")).write_bytes(b"{")
    (store.root / "parts" / "0.new").write_bytes(b"half a part")
    (store.root / "ended" / "ftjob-0.json.new").write_bytes(b"{")
    (store.root / "adapters" / "ftjob-0" / "step-1.new").mkdir(parents=True)
    file = store.files.add("faq.jsonl", "fine-tune", [b"x"])
    store.tidy()
    assert contents(store) == on_disk(file["id"])
    assert [*(store.root / "parts").iterdir(), *(store.root / "ended").iterdir()] == []
    assert not (store.root / "adapters" / "ftjob-0").exists()
    assert not (store.root / "orphaned").exists()


def test_a_new_job_waits_and_says_so(store: Store) -> None:
    job = store.jobs.add(JOB | {"suffix": None})
    assert job["status"] == "pending"
    assert "suffix" not in job
    assert store.jobs.get(job["id"]) == job
    events, more = store.events.page(job["id"], after=None, limit=20)
    assert [event["message"] for event in events] == ["Job enqueued. Waiting for jobs ahead to complete."]
    assert not more


def test_the_first_of_two_status_changes_wins(store: Store) -> None:
    job = store.jobs.add(JOB)
    assert store.jobs.update(job["id"], expect={"pending", "running"}, status="cancelled")
    assert store.jobs.update(job["id"], expect={"pending", "running"}, status="succeeded") is None
    assert store.jobs.get(job["id"])["status"] == "cancelled"


def test_jobs_are_taken_up_in_the_order_they_came(store: Store) -> None:
    first, second, third = (store.jobs.add(JOB)["id"] for _ in range(3))
    store.jobs.update(second, status="running")
    assert [job["id"] for job in store.jobs.in_states("pending")] == [first, third]
    assert [job["id"] for job in store.jobs.in_states("pending", "running")] == [first, second, third]


def test_resolved_hyperparameters_show_in_both_places(store: Store) -> None:
    method = {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": -1}}}
    job = store.jobs.add(JOB | {"method": method})
    changed = store.jobs.update(job["id"], hyperparameters={"n_epochs": 3})
    assert changed["hyperparameters"] == {"n_epochs": 3}
    assert changed["method"] == {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 3}}}


def test_a_failed_job_tells_why_and_when(store: Store) -> None:
    job = store.jobs.add(JOB)
    failed = store.jobs.fail(job["id"], code="invalid_n_examples", message="too few", param="training_file")
    assert failed["error"] == {"code": "invalid_n_examples", "message": "too few", "param": "training_file"}
    assert failed["finished_at"] >= job["created_at"]
    assert store.jobs.fail(job["id"], code="other", message="later") is None


def test_jobs_are_found_by_their_metadata(store: Store) -> None:
    odd = 'it\'s "odd" [key]'
    store.jobs.add(JOB | {"metadata": {odd: "other"}})
    wanted = store.jobs.add(JOB | {"metadata": {odd: "value", "more": "yes"}})
    store.jobs.add(JOB)
    assert store.jobs.page(after=None, limit=5, metadata={odd: "value"}) == ([wanted], False)
    assert store.jobs.page(after=None, limit=5, metadata={odd: "value", "more": "no"}) == ([], False)


def test_a_step_stands_in_the_results_once_and_late_numbers_join_it(store: Store) -> None:
    job = store.jobs.add(JOB)["id"]
    store.jobs.update(job, status="running")
    store.metrics.add(job, 1, {"train_loss": 2.5, "train_mean_token_accuracy": 0.25})
    store.metrics.add(job, 2, {"train_loss": 2.0, "valid_loss": float("nan")})
    store.metrics.add(job, 1, {"train_loss": 9.9, "full_valid_loss": 1.5})
    assert store.metrics.last_step(job) == 2
    assert store.metrics.csv(job).decode().splitlines() == [
        "step,train_loss,train_mean_token_accuracy,valid_loss,valid_mean_token_accuracy,"
        "full_valid_loss,full_valid_mean_token_accuracy",
        "1,2.5,0.25,,,1.5,",
        "2,2.0,,,,,",
    ]


def test_the_result_file_grows_with_its_job(store: Store) -> None:
    job = store.jobs.add(JOB)["id"]
    (file_id,) = store.jobs.update(job, status="running")["result_files"]
    header = store.files.get(file_id)["bytes"]
    store.metrics.add(job, 1, {"train_loss": 2.5})
    assert store.files.get(file_id)["bytes"] == header + len("1,2.5,,,,,\n")
    store.jobs.update(job, status="succeeded")
    assert store.files.get(file_id) == store.files.page("fine-tune-results", after=None, limit=1)[0][0]
    assert store.files.get(file_id)["bytes"] == len(store.metrics.csv(job))
    assert store.files.job_of(file_id) == job


def test_a_graded_job_has_a_reward_column(store: Store) -> None:
    supervised = {"hyperparameters": {}, "grader": {"type": "string_check"}}
    job = store.jobs.add(JOB | {"method": {"type": "supervised", "supervised": supervised}})["id"]
    store.metrics.add(job, 5, {"train_loss": 1.0, "full_valid_mean_reward": 0.75})
    header, line = store.metrics.csv(job).decode().splitlines()
    assert header.endswith(",full_valid_mean_token_accuracy,full_valid_mean_reward")
    assert line == "5,1.0,,,,,,0.75"


def test_a_repeated_event_is_written_once(store: Store) -> None:
    job = store.jobs.add(JOB)["id"]
    for loss in ("2.5", "2.6"):
        store.events.add(job, f"Step 1: training loss={loss}", data={"step": 1}, key="step-1")
        store.events.add(job, "Training started.")
    events, _ = store.events.page(job, after=None, limit=20)
    assert [event["message"] for event in events] == [
        "Training started.",
        "Step 1: training loss=2.5",
        "Job enqueued. Waiting for jobs ahead to complete.",
    ]
    assert events[1]["data"] == {"step": 1}
    assert "data" not in events[0]


def test_events_page_from_the_newest_back(store: Store) -> None:
    job, other = store.jobs.add(JOB)["id"], store.jobs.add(JOB)["id"]
    for number in range(4):
        store.events.add(job, f"line {number}")
        store.events.add(other, f"line {number}")
    page, more = store.events.page(job, after=None, limit=3)
    assert ([event["message"] for event in page], more) == (["line 3", "line 2", "line 1"], True)
    rest, more = store.events.page(job, after=page[-1]["id"], limit=3)
    assert [event["message"] for event in rest] == [
        "line 0",
        "Job enqueued. Waiting for jobs ahead to complete.",
    ]
    assert not more


def test_a_forgotten_checkpoint_takes_its_adapter_with_it(store: Store) -> None:
    job = store.jobs.add(JOB)["id"]
    for step in (10, 20, 30, 40):
        folder = store.checkpoints.folder(job, step)
        folder.mkdir(parents=True)
        name = "nano.ft-abc" if step == 40 else f"nano.ft-abc:ckpt-step-{step}"
        store.checkpoints.add(job, step, name, {"train_loss": 1 / step}, folder)
    store.checkpoints.forget(job, 10)
    store.checkpoints.forget(job, 10)
    page, more = store.checkpoints.page(job, after=None, limit=2)
    assert ([row["fine_tuned_model_checkpoint"] for row in page], more) == (
        ["nano.ft-abc", "nano.ft-abc:ckpt-step-30"],
        True,
    )
    assert page[0]["metrics"] == {"step": 40, "train_loss": 0.025}
    assert [model.name for model in store.checkpoints.models()] == [
        "nano.ft-abc:ckpt-step-20",
        "nano.ft-abc:ckpt-step-30",
        "nano.ft-abc",
    ]
    assert [step for step in (10, 20, 30, 40) if store.checkpoints.folder(job, step).exists()] == [20, 30, 40]
    assert store.checkpoints.model("nano.ft-abc:ckpt-step-10") is None


def test_a_model_tuned_further_keeps_its_first_base(store: Store) -> None:
    first = store.jobs.add(JOB)["id"]
    store.checkpoints.add(first, 1, "nano.ft-one", {}, store.checkpoints.folder(first, 1))
    second = store.jobs.add(JOB | {"model": "nano.ft-one"})["id"]
    store.checkpoints.add(second, 2, "nano.ft-two", {}, store.checkpoints.folder(second, 2))
    model = store.checkpoints.model("NANO.FT-TWO")
    assert (model.base_model, model.adapter) == ("nano", store.checkpoints.folder(second, 2))


def test_a_checkpoint_saved_again_after_a_crash_is_the_same_one(store: Store) -> None:
    job = store.jobs.add(JOB)["id"]
    for loss in (1.0, 1.0):
        store.checkpoints.add(job, 5, "nano.ft-x", {"train_loss": loss}, store.checkpoints.folder(job, 5))
    assert len(store.checkpoints.page(job, after=None, limit=10)[0]) == 1


def test_what_one_process_wrote_another_reads(home: Path, store: Store) -> None:
    job = store.jobs.add(JOB)["id"]
    children = [
        multiprocessing.get_context("spawn").Process(
            target=write_steps, args=(home, job, range(start, 41, 2))
        )
        for start in (1, 2)
    ]
    for child in children:
        child.start()
    for child in children:
        child.join()
    assert [child.exitcode for child in children] == [0, 0]
    assert store.metrics.last_step(job) == 40
    assert len(store.metrics.csv(job).splitlines()) == 41
    assert len(store.events.page(job, after=None, limit=100)[0]) == 41


def write_steps(home: Path, job: str, steps: range) -> None:
    store = Store(home)
    for step in steps:
        store.metrics.add(job, step, {"train_loss": 1.0})
        store.events.add(job, f"Step {step}")
    store.close()


def test_a_file_that_is_no_database_is_named(home: Path) -> None:
    (home / "service").mkdir(parents=True)
    (home / "service" / "service.db").write_bytes(b"something else" * 1000)
    with pytest.raises(SetupError, match=r"service\.db is damaged \(file is not a database\)"):
        Store(home)


def test_a_truncated_database_is_found_before_it_is_used(home: Path) -> None:
    store = Store(home)
    for _ in range(200):
        store.jobs.add(JOB)
    store.close()
    database = home / "service" / "service.db"
    database.write_bytes(database.read_bytes()[: 8 * 4096])
    with pytest.raises(SetupError, match="is damaged"):
        Store(home).tidy()


def test_a_database_of_a_newer_workbench_is_left_alone(home: Path) -> None:
    store = Store(home)
    store._db.all("PRAGMA user_version = 99")
    store.close()
    with pytest.raises(SetupError, match="made by a newer workbench"):
        Store(home)


# A database that is lost, older than the disk, or full


def adapter(store: Store, job: str, step: int, model: str) -> Path:
    folder = store.checkpoints.folder(job, step)
    folder.mkdir(parents=True)
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        (folder / name).write_text("x")
    store.checkpoints.add(job, step, model, {"train_loss": 0.5}, folder)
    return folder


def ended_job(store: Store, training_file: str) -> str:
    job = store.jobs.add(JOB | {"training_file": training_file})["id"]
    store.jobs.update(job, status="running")
    store.metrics.add(job, 1, {"train_loss": 2.5})
    store.events.add(job, "Step 1: training loss=2.5")
    adapter(store, job, 1, "nano.ft-a")
    store.jobs.update(job, status="succeeded", fine_tuned_model="nano.ft-a")
    store.jobs.keep_record(job)
    return job


def lose_database(home: Path) -> None:
    """As the message about a damaged one advises."""
    for path in (home / "service").glob("service.db*"):
        path.rename(home / path.name)


def test_a_new_database_takes_up_what_lies_beside_it(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = Store(home)
    ids = [store.files.add(f"{number}.jsonl", "fine-tune", [b"x" * number])["id"] for number in range(1, 320)]
    job = ended_job(store, ids[0])
    before = (
        store.files.page("fine-tune", after=None, limit=1000)[0],
        store.jobs.get(job),
        store.events.page(job, after=None, limit=10),
        store.metrics.csv(job),
        store.checkpoints.models(),
    )
    deleted = store.files.add("gone.jsonl", "fine-tune", [b"x"])["id"]
    store.files.delete(deleted)
    store.close()
    lose_database(home)
    store = Store(home)
    store.tidy()
    after = (
        store.files.page("fine-tune", after=None, limit=1000)[0],
        store.jobs.get(job),
        store.events.page(job, after=None, limit=10),
        store.metrics.csv(job),
        store.checkpoints.models(),
    )
    assert sorted(after[0], key=lambda file: file["id"]) == sorted(before[0], key=lambda file: file["id"])
    assert len(after[0]) == 319
    assert after[1:] == before[1:]
    (results,) = store.jobs.get(job)["result_files"]
    assert store.files.get(results)["bytes"] == len(before[3])
    assert capsys.readouterr().err == (
        "321 files, jobs and models that the database did not know were taken up again.\n"
    )
    store.tidy()
    assert capsys.readouterr().err == ""
    store.close()


def test_what_nobody_knows_is_set_aside_and_never_deleted(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = Store(home)
    unknown = {
        f"files/file-{'0' * 32}": b"an upload of an earlier workbench",
        "files/notes.txt": b"put there by hand",
        "parts/part_1": b"a part of a lost upload",
        "jobs/ftjob-1/state.pt": b"half a training",
        "adapters/ftjob-1/step-3/adapter_model.safetensors": b"an adapter",
        "ended/ftjob-2.json": b"not JSON",
    }
    for name, content in unknown.items():
        (store.root / name).parent.mkdir(parents=True, exist_ok=True)
        (store.root / name).write_bytes(content)
    store.tidy()
    assert {name: (store.root / "orphaned" / name).read_bytes() for name in unknown} == unknown
    assert not any((store.root / name).exists() for name in unknown)
    assert "6 files and folders that nobody knows were moved to " in capsys.readouterr().err
    store.tidy()
    assert capsys.readouterr().err == ""
    (store.root / "files" / "notes.txt").write_bytes(b"again")
    store.tidy()
    assert (store.root / "orphaned" / "files" / "notes.txt").read_bytes() == b"put there by hand"
    assert (store.root / "orphaned" / "files" / "notes.txt.2").read_bytes() == b"again"
    store.close()


def test_files_newer_than_a_restored_copy_of_the_database_are_taken_up(home: Path) -> None:
    store = Store(home)
    first = store.files.add("first.jsonl", "fine-tune", [b"1"])["id"]
    job = store.jobs.add(JOB | {"training_file": first})["id"]
    store.close()
    copy = (home / "service" / "service.db").read_bytes()
    store = Store(home)
    second = store.files.add("second.jsonl", "evals", [b"22"])
    store.jobs.update(job, status="cancelled")
    store.jobs.keep_record(job)
    store.close()
    lose_database(home)
    (home / "service" / "service.db").write_bytes(copy)
    store = Store(home)
    store.tidy()
    assert store.files.get(second["id"]) == second
    assert store.jobs.get(job)["status"] == "cancelled"
    store.close()


def test_a_file_taken_up_expires_when_it_was_to(home: Path) -> None:
    store = Store(home)
    with store.files.receive() as incoming:
        incoming.write(b"x")
        file = store.files.keep(incoming, "short.jsonl", "fine-tune", expires_after=3600)
    store.close()
    lose_database(home)
    store = Store(home)
    store.tidy()
    assert store.files.get(file["id"]) == file
    store.close()


def test_a_note_that_is_not_true_takes_nothing_up(store: Store) -> None:
    file_id = "file-" + "a" * 32
    note = {"id": file_id, "filename": "a", "purpose": "evals", "created_at": 1, "bytes": 5}
    (store.root / "files" / file_id).write_bytes(b"four")
    (store.root / "files" / f"{file_id}.json").write_text(json.dumps(note))
    store.tidy()
    assert store.files.page(after=None, limit=10) == ([], False)
    assert (store.root / "orphaned" / "files" / file_id).read_bytes() == b"four"
    assert contents(store) == []


def test_a_deleted_file_or_checkpoint_does_not_come_back(home: Path) -> None:
    store = Store(home)
    file = store.files.add("faq.jsonl", "fine-tune", [b"x"])["id"]
    job = ended_job(store, file)
    folder = store.checkpoints.folder(job, 1)
    # Killed after the row was deleted, before the disk was.
    with store.together() as db:
        db.execute("DELETE FROM files WHERE id = ?", (file,))
        db.execute("DELETE FROM checkpoints WHERE job_id = ?", (job,))
    store.tidy()
    assert (contents(store), folder.exists(), store.checkpoints.models()) == ([], False, [])
    assert not (store.root / "orphaned").exists()
    assert store._db.all("SELECT * FROM forgotten") == []
    store.close()


def test_a_checkpoint_saved_again_after_it_was_forgotten_stays(store: Store) -> None:
    job = store.jobs.add(JOB)["id"]
    adapter(store, job, 1, "nano.ft-a")
    store.checkpoints.forget(job, 1)
    folder = adapter(store, job, 1, "nano.ft-a")
    store.jobs.update(job, status="cancelled")
    store.tidy()
    assert folder.exists()


def test_a_file_that_does_not_get_into_the_database_leaves_nothing(store: Store) -> None:
    def both() -> None:
        with store.together():
            store.files.add("faq.jsonl", "fine-tune", [b"x"])
            raise KeyError("the rest of the transaction")

    with pytest.raises(KeyError):
        both()
    assert contents(store) == []
    assert store.files.page(after=None, limit=10) == ([], False)


def test_a_part_whose_service_was_killed_before_it_got_its_name_is_found(home: Path) -> None:
    store = Store(home)
    upload = store.uploads.add("x.jsonl", "fine-tune", 5)["id"]
    with store.uploads.receive() as incoming:
        incoming.write(b"hello")
        part = store.uploads.keep(upload, incoming)["id"]
    named = store.root / "parts" / part
    named.rename(named.with_name(f"{part.removeprefix('part_')}.new"))
    store.tidy()
    assert store.files.get(store.uploads.complete(upload, [part])["file"]["id"])["bytes"] == 5
    store.close()


def test_the_parts_of_an_upload_that_ended_just_before_a_kill_are_removed(store: Store) -> None:
    upload = store.uploads.add("x.jsonl", "fine-tune", 5)["id"]
    with store.uploads.receive() as incoming:
        incoming.write(b"hello")
        store.uploads.keep(upload, incoming)
    store._db.all("UPDATE uploads SET status = 'completed'")
    store.tidy()
    assert [*(store.root / "parts").iterdir()] == []
    assert not (store.root / "orphaned").exists()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 8 MiB of its own."""
    place = tmp_path / "disk"
    place.mkdir()
    if shutil.which("mount") is None or os.getuid() != 0:
        pytest.skip("only root can mount a small disk")
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", place], check=False).returncode:
        pytest.skip("nothing can be mounted here")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", place], check=True)


def fill(folder: Path) -> Path:
    path = folder / "filler"
    with path.open("wb", buffering=0) as stream:
        for size in (4096, 1):
            with contextlib.suppress(OSError):
                while True:
                    stream.write(b"x" * size)
    return path


def test_deleting_makes_room_on_a_full_disk(small_disk: Path) -> None:
    store = Store(small_disk)
    store.tidy()
    files = [store.files.add(f"{number}.jsonl", "fine-tune", [b"x" * 1000])["id"] for number in range(200)]
    fill(small_disk)

    def add_until_full() -> None:
        for _ in range(10_000):
            store.jobs.add(JOB)

    with pytest.raises(sqlite3.OperationalError, match="full"):
        add_until_full()
    for file_id in files:
        assert store.files.delete(file_id)
    assert store.files.page(after=None, limit=10) == ([], False)
    assert store.files.add("again.jsonl", "fine-tune", [b"x"])["bytes"] == 1
    store.close()


def test_the_space_kept_aside_is_for_deleting_files_not_answers(small_disk: Path) -> None:
    store = Store(small_disk)
    store.tidy()
    answers = [f"chatcmpl-{number}" for number in range(100)]
    for answer in answers:
        store.completions.add({"id": answer, "text": "x" * 1000}, [])
    fill(small_disk)

    def forget_all() -> None:
        for answer in answers:
            store.completions.delete(answer)

    with pytest.raises(sqlite3.OperationalError, match="full"):
        forget_all()
    assert (store.root / "reserve").stat().st_size == 2 * 1024 * 1024
    store.close()


def test_a_service_starts_on_a_full_disk_and_keeps_its_reserve_as_soon_as_it_can(
    small_disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = Store(small_disk)
    store.tidy()
    file = store.files.add("a.jsonl", "fine-tune", [b"x"])["id"]
    store.close()
    filler = fill(small_disk)
    store = Store(small_disk)
    (store.root / "files" / "stranger").symlink_to("nowhere")
    store.tidy()
    assert store.files.delete(file)
    filler.unlink()
    store.files.delete(store.files.add("b.jsonl", "fine-tune", [b"x"])["id"])
    assert (store.root / "reserve").stat().st_size == 2 * 1024 * 1024
    store.close()


def test_a_full_disk_is_known_in_every_disguise() -> None:
    torchs = RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 704 vs 598")
    torchs.__context__ = OSError(errno.ENOSPC, "No space left on device")
    assert is_disk_full(torchs)
    assert is_disk_full(Exception("I/O error: No space left on device (os error 28)"))
    assert not is_disk_full(RuntimeError("something else (os error 2)"))


def test_room_is_there_only_when_it_can_be_had(small_disk: Path) -> None:
    assert has_space(small_disk, 1024 * 1024)
    assert not has_space(small_disk, 16 * 1024 * 1024)
    assert list(small_disk.iterdir()) == []
