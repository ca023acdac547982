"""The process that trains one job: reads it from the store, writes every step back, ends with it.

Apart because the forkserver loads it by its name, with torch, which its caller ``workers`` must not load.
It may be killed or paused at any moment. State is saved every few steps and at each epoch's
end; a successor starts from there, repeats the steps in between bit for bit, and the store
ignores what it knows already, so the curve has no gap and no double step.
"""

import errno
import json
import math
import multiprocessing
import os
import re
import shutil
import signal
import sqlite3
import sys
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import groupby
from pathlib import Path
from types import FrameType, TracebackType
from typing import Literal

from filelock import FileLock
from safetensors import SafetensorError
from transformers.utils import logging

from workbench.catalog.limits import of_provider
from workbench.catalog.methods import METHODS, REWARD_COLUMN
from workbench.dataset.check.check import check
from workbench.dataset.dataset import Dataset
from workbench.dataset.read import parse_jsonl
from workbench.errors import DataError, SetupError, WorkbenchError
from workbench.local.models import lora
from workbench.local.models.bases import base_folder
from workbench.local.models.model import Base, TokenRow, load_base, use_threads
from workbench.local.store.database import is_disk_full, sync
from workbench.local.store.rows import Job
from workbench.local.store.store import Store
from workbench.local.training import run as runs
from workbench.local.training.packing import keeps_apart
from workbench.local.training.preference import PairRow, Preference
from workbench.local.training.reinforcement import (
    GradedTask,
    Reinforcement,
    StoppedWhileAskingError,
    ask_service,
)
from workbench.local.training.supervised import Supervised
from workbench.local.workers import UNCAUGHT

TRAINERS: Mapping[str, runs.Trainer] = {
    "supervised": Supervised(),
    "dpo": Preference(),
    "reinforcement": Reinforcement(),
}
"""How each method of ``catalog.methods`` trains, by the API's names."""

SAVE_INTERVAL = 10  # steps; saving takes less than a tenth of a step
SAVE_SECONDS = 10.0  # after which a step is saved in any case: with many answers to draw it takes as long
BEFORE = "before"  # the adapter from which continued training starts, kept where answers are compared with it
QUEUED = "Job queued, waiting for GPUs."  # reported by every job on Azure
MANY = 1000  # checkpoints of a job, more than there ever are
NICENESS = 10  # training yields to whoever waits for an answer


class RefusedDataError(DataError):
    """Training data that the service does not train on, with Azure's code for the reason."""

    def __init__(self, code: str, message: str) -> None:
        """``message`` is a sentence for the user."""
        super().__init__(message)
        self.code = code


class StoppedEarly(Exception):  # noqa: N818 - nothing went wrong
    """Somebody wants this process to end; the state is saved."""


def train(home: Path, models: Path, job_id: str) -> None:
    """Train ``job_id`` from where it stands: the child process's whole life."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in a terminal is the service's business
    os.nice(NICENESS)
    logging.disable_progress_bar()
    use_threads()
    try:
        _train(home, models, job_id)
    except (OSError, sqlite3.Error, RuntimeError, SafetensorError, MemoryError) as error:
        code = exit_code_of(error)
        if code is None:
            raise
        traceback.print_exception(error)
        sys.exit(code)


def exit_code_of(error: Exception) -> int | None:
    """What tells the service that disk or memory is too small; ``None`` for any other error.

    On a full disk it waits, and starts another process once there is space.
    """
    if is_disk_full(error):
        return errno.ENOSPC
    small = isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and _NO_MEMORY.search(str(error))
    )
    return errno.ENOMEM if small else None


_NO_MEMORY = re.compile("can't allocate memory|out of memory", re.IGNORECASE)  # torch has no error for it


class _Uncaught:
    """Leaves the error that ends this process beside the job, for the service to say."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / UNCAUGHT

    def __enter__(self) -> None:
        self._file.unlink(missing_ok=True)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, Exception):
            *_, last = traceback.extract_tb(trace)
            where = f"{Path(last.filename).name} line {last.lineno}"
            found = " ".join(f"{type(error).__name__}: {error}".split())
            with suppress(OSError):  # a full disk has its own exit code
                self._file.write_text(
                    f"{found} ({where}). This is a fault of the local service, which service.log shows."
                )


def _train(home: Path, models: Path, job_id: str) -> None:
    store = Store(home)
    # A killed service leaves its child to finish a step; its successor waits here until that is done.
    folder = store.jobs.folder(job_id)
    with FileLock(folder / "worker.lock"), _Uncaught(folder):
        job = store.jobs.get(job_id)
        if job is None or job["status"] not in ("pending", "running", "pausing", "resuming"):
            return
        try:
            _Training(store, models, job).run()
        except (StoppedEarly, StoppedWhileAskingError):
            return
        except DataError as error:
            code = error.code if isinstance(error, RefusedDataError) else "invalid_training_file"
            store.jobs.fail(job_id, code=code, message=str(error), param="training_file")
        except WorkbenchError as error:
            if is_disk_full(error):
                raise
            store.jobs.fail(job_id, code="training_failed", message=str(error))


class _Training:
    def __init__(self, store: Store, models: Path, job: Job) -> None:
        self._store, self._models, self._job = store, models, job
        self._id: str = job["id"]
        self._method = METHODS[runs.method_name(job)]
        self._trainer = TRAINERS[self._method.name]
        self._state = store.jobs.folder(self._id) / "state.pt"
        self._previous = self._state.with_name("state.previous.pt")
        self._graded = self._method.grader == "required"
        self._adapter: Path | None = None  # where continued training starts from
        self._asked_to_stop = False
        signal.signal(signal.SIGTERM, self._stop)

    def run(self) -> None:
        training, validation = self._read("training_file"), self._read("validation_file")
        problem = self._store.safety.data_problem(self._id)
        if problem:
            raise RefusedDataError("contentFilter", problem)
        base = self._load()
        rows, held_out = (self._trainer.encode(base, data) for data in (training, validation))
        plan = runs.resolve(self._job, len(rows), len(held_out), auto_steps=self._trainer.auto_steps)
        if self._start(plan) is None:
            return
        run = self._run_of(base, plan, rows, held_out, validation)
        if self._adapter:
            self._continue_from(self._adapter, run)
        self._restore(run)
        for _ in run.measure_reference():
            if self._wanted() not in ("running", "pausing"):
                raise StoppedEarly
        if run.done == 0:
            run.trace.before = run.look()
        self._say("Training started.")
        self._say(f"Created results file: {self._job['result_files'][0]}")
        began, first = time.monotonic(), run.done
        saved = began
        for step in run:
            now = time.monotonic()
            remaining = (len(run.schedule) - step.number) * (now - began) / (step.number - first)
            self._keep(step, run, time.time() + remaining)
            wanted, due = self._wanted(), now - saved >= SAVE_SECONDS or step.number % SAVE_INTERVAL == 0
            if step.epoch or due or wanted != "running":
                self._save(run)
                saved = time.monotonic()
            if wanted == "pausing" and step.number < len(run.schedule):
                self._pause(step, base)
            if wanted not in ("running", "pausing"):
                raise StoppedEarly
        run.trace.after = run.look()
        self._finish(run, training.sha256)

    def _run_of(
        self,
        base: Base,
        plan: runs.RunSettings,
        rows: list[TokenRow],
        held_out: list[TokenRow],
        validation: Dataset,
    ) -> runs.TrainingRun:
        trainer = self._trainer
        if self._graded:
            ask = ask_service(self._store.home, plan.seed, self._is_ending)
            task = GradedTask(self._job, base, ask)
            evaluation = task.evaluation(held_out[: plan.eval_samples])
            return runs.TrainingRun(trainer, base, plan, rows, (), evaluation, task)
        measured = [row for row in held_out if trainer.has_loss(row)]
        evaluation = runs.evaluation_of(self._job, base, validation, plan.eval_samples)
        return runs.TrainingRun(trainer, base, plan, rows, measured, evaluation)

    def _read(self, key: Literal["training_file", "validation_file"]) -> Dataset:
        """The dataset behind ``training_file`` or ``validation_file``; empty without a validation file."""
        file_id = self._job.get(key)
        if not file_id:
            return Dataset(key, ())
        words = key.replace("_", " ")
        if key == "training_file":  # a real job tells the beginning of this one only
            self._say(f"Preprocessing running for file {words}.")
        file = self._store.files.get(file_id)  # None: deleted meanwhile; its content is kept for this job
        name = file["filename"] if file else file_id
        dataset = parse_jsonl(self._store.files.content(file_id).read_bytes(), name)
        least = of_provider("azure").min_examples or 1
        needed = key == "training_file" or self._method.needs_validation
        if needed and len(dataset) < least:
            message = (
                f"{words.capitalize()} has {len(dataset)} example(s), but must have at least {least} examples"
            )
            raise RefusedDataError("invalid_n_examples", message)
        grader = runs.settings_of(self._job).get("grader") if self._graded else None
        report = check(dataset, method=self._method.name, grader=grader, only=("format",))
        unusable = [each for each in report.errors if each.rule not in ("too_few", "no_validation")]
        if unusable:
            first = unusable[0]
            more = f" {len(unusable) - 1:,} more problems were found." if len(unusable) > 1 else ""
            raise DataError(f"{first.origin} {first.path}: {first.message}; {first.fix}.{more}")
        self._say(f"Preprocessing completed for file {words}.")
        return dataset

    def _load(self) -> Base:
        tuned = self._store.checkpoints.model(self._job["model"])
        name, self._adapter = (tuned.base_model, tuned.adapter) if tuned else (self._job["model"], None)
        base = load_base(name, base_folder(name, self._models))
        if not keeps_apart(base.model):
            raise SetupError(
                f"{name} has layers that this service cannot train (no attention, or one that transformers "
                "does not let others take the place of); train a model of another architecture."
            )
        return base

    def _start(self, plan: runs.RunSettings) -> Job | None:
        """Mark the job running with its resolved settings; ``None`` when it was cancelled meanwhile.

        One that was to pause when its process died takes one more step, and pauses then.
        """
        asked = self._job["hyperparameters"]
        given = [each.name for each in self._method.hyperparameters] if self._graded else asked
        settings = {name: value for name, value in plan.hyperparameters.items() if name in given}
        update, to_run = self._store.jobs.update, {"pending", "running", "resuming"}
        job = update(self._id, expect=to_run, status="running", hyperparameters=settings)
        job = job or update(self._id, expect={"pausing"}, hyperparameters=settings)
        if job is not None:
            self._job = job
            for message in ("Job started.", "Data Import started.", "Finetuning started.", QUEUED):
                self._say(message)
        return job

    def _continue_from(self, adapter: Path, run: runs.TrainingRun) -> None:
        base = run.base
        try:
            lora.copy_adapter(base.model, runs.ADAPTER, adapter)
            if run.rollouts:
                lora.load_adapter(base.model, BEFORE, adapter)
                run.reference_adapter = BEFORE
        except (OSError, SafetensorError, ValueError, KeyError, RuntimeError) as error:
            raise WorkbenchError(
                f"The model {self._job['model']} cannot be trained further: its adapter in {adapter} is "
                f"damaged ({error}). Continue from another checkpoint, or train it again."
            ) from error

    def _keep(self, step: runs.TrainingStep, run: runs.TrainingRun, estimated_finish: float) -> None:
        """Write one step to the store: what a successor repeats is ignored there."""
        total = len(run.schedule)
        self._store.metrics.add(self._id, step.number, step.metrics)
        if step.note:
            self._say(step.note, key=f"note-{step.number}")
        full = any(name.startswith("full_valid") for name in step.metrics)
        often = run.rollouts is not None
        if often or step.number == 1 or step.number % runs.LOG_INTERVAL == 0 or step.number == total or full:
            message = f"Step {step.number}: {_in_words(step.metrics)}"
            so_far = {"step": step.number, "total_steps": total, "trained_tokens": run.tokens}
            self._say(message, key=f"step-{step.number}", data=so_far | step.metrics)
            self._store.jobs.update(self._id, estimated_finish=int(estimated_finish))
        if step.epoch or (often and full):
            part = "" if step.number == total else f":ckpt-step-{step.number}"
            self._offer(step, run.base, f"{self._tuned_model}{part}")
            for end in self._outdone(step, run):
                self._store.checkpoints.forget(self._id, end)

    def _outdone(self, step: runs.TrainingStep, run: runs.TrainingRun) -> list[int]:
        """The steps whose checkpoints are kept no longer: of the earlier epochs, or with less reward."""
        most = of_provider("azure").checkpoints_kept
        if most is None:
            return []
        if run.rollouts is None:  # beside those that a pause left
            return [end for end in run.epoch_ends if end <= step.number][:-most]
        offered, _ = self._store.checkpoints.page(self._id, after=None, limit=MANY)
        measured = ((each["step_number"], each["metrics"].get(REWARD_COLUMN)) for each in offered)
        rewards = {number: reward for number, reward in measured if reward is not None}
        best = sorted(rewards, key=lambda number: (rewards[number], number), reverse=True)
        return [number for number in best[most:] if number != step.number or step.number < len(run.schedule)]

    def _offer(self, step: runs.TrainingStep, base: Base, model: str) -> None:
        """Make what the run has learnt by this step usable as ``model``."""
        folder = self._store.checkpoints.folder(self._id, step.number)
        fresh = folder.with_name(f"{folder.name}.new")
        shutil.rmtree(fresh, ignore_errors=True)
        lora.save_adapter(base.model, runs.ADAPTER, fresh, base_model=base.name)
        for path in (*fresh.iterdir(), fresh):
            sync(path)
        if folder.exists():
            shutil.rmtree(fresh, ignore_errors=True)
        else:
            fresh.replace(folder)
            sync(folder.parent)
        self._store.checkpoints.add(self._id, step.number, model, step.metrics, folder)

    def _pause(self, step: runs.TrainingStep, base: Base) -> None:
        """Leave a usable checkpoint, say that the job has paused, and end."""
        self._offer(step, base, f"{self._tuned_model}:ckpt-step-{step.number}")
        self._store.jobs.update(self._id, expect={"pausing"}, status="paused")
        raise StoppedEarly

    def _save(self, run: runs.TrainingRun) -> None:
        if self._state.exists():
            self._state.replace(self._previous)
        run.save(self._state)

    def _restore(self, run: runs.TrainingRun) -> None:
        """Go on from the newest state that can be read; from the first step when there is none."""
        for file in (self._state, self._previous):
            try:
                run.restore(file)
                return
            except FileNotFoundError:
                continue
            except runs.DamagedStateError as error:
                print(f"Job {self._id}: {error} The job goes on from an earlier step.", file=sys.stderr)

    def _finish(self, run: runs.TrainingRun, sha256: str) -> None:
        billed = f"Training tokens billed: {round(run.tokens, -3)}"
        if self._method.billed_by == "hours":
            billed = f"Training hours billed: {run.seconds / 3600:.3f}"
        with self._store.together():
            ended = self._store.jobs.update(
                self._id,
                expect={"running", "pausing"},
                status="succeeded",
                fine_tuned_model=self._tuned_model,
                finished_at=int(time.time()),
                trained_tokens=run.tokens,
            )
            if ended is None:  # cancelled at the last moment
                return
            file = self._store.files.add(LOSSES_FILE, "fine-tune-results", example_losses(run, sha256))
            self._store.jobs.update(self._id, result_files=[*self._job["result_files"], file["id"]])
            if run.rollouts and not run.tokens:
                nothing = (
                    "In no step did the rewards of a prompt's answers differ: the model has learnt nothing."
                )
                self._store.events.add(self._id, nothing, level="warning")
            self._say("Job succeeded.")
            self._say(self._store.safety.model_problem(self._id) or "Model Evaluation Passed.")
            self._say(f"Completed results file: {self._job['result_files'][0]}")
            self._say(billed)

    @property
    def _tuned_model(self) -> str:
        base = str(self._job["model"]).partition(".ft-")[0]
        suffix = f"-{self._job['suffix']}" if self._job.get("suffix") else ""
        return f"{base}.ft-{self._id.removeprefix('ftjob-')}{suffix}"

    def _say(self, message: str, *, key: str | None = None, data: Mapping[str, float] | None = None) -> None:
        self._store.events.add(self._id, message, data=data, key=key)

    def _wanted(self) -> str:
        """The state in which the job is wanted; ``"stopped"`` when this process is to end."""
        job = self._store.jobs.get(self._id)
        return "stopped" if self._is_ending() or job is None else job["status"]

    def _is_ending(self) -> bool:
        """Whether this process was asked to end, or works for nobody any more; any thread may ask."""
        parent = multiprocessing.parent_process()
        return self._asked_to_stop or (parent is not None and not parent.is_alive())

    def _stop(self, signal_number: int, frame: FrameType | None) -> None:
        self._asked_to_stop = True


def _in_words(metrics: Mapping[str, float]) -> str:
    """What the log says of a step, as Azure's does."""
    if "train_loss" in metrics:
        return f"training loss={str(metrics['train_loss']).upper()}"
    said = {"train mean reward": "train_mean_reward", "full validation mean reward": REWARD_COLUMN}
    return ", ".join(f"{words}={metrics[name]}" for words, name in said.items() if name in metrics)


# What a run knows of its training examples once it has ended, as the lines of ``lessons.jsonl``: the first
# batch as the model read it, with its mask, and the loss of every example whenever it was visited. The
# client puts it beside the user's own rows.

LOSSES_FILE = "lessons.jsonl"


def example_losses(run: runs.TrainingRun, sha256: str) -> Iterator[bytes]:
    """The file, line by line; ``sha256`` is the training file's, so that nobody matches it with another.

    First what it is about, then the examples of the first step as ``[text, learnt]`` pieces, then one
    line for each example: its line in the training file from 1, its learnt tokens, and its losses (nats
    per learnt token, or per pair; ``null`` where nothing is learnt or measured). In reinforcement it has
    rewards instead: the mean of its answers at each visit.
    """
    trace = run.trace
    yield _line(
        "about",
        model=run.base.name,
        training_sha256=sha256,
        examples=len(run.training),
        n_epochs=run.plan.n_epochs,
        batch_size=run.plan.batch_size,
        looked_at=len(trace.sample),
    )
    for row in run.schedule[0]:
        example = run.training[row]
        more = {"rejected": _pieces(run.base, example.rejected)} if isinstance(example, PairRow) else {}
        yield _line("first_batch", line=row + 1, pieces=_pieces(run.base, example), **more)
    for row, example in enumerate(run.training):
        visits = [_number(measured) for measured in trace.visits[row]]
        yield _line(
            "example",
            line=row + 1,
            learnt_tokens=sum(example.learnt),
            losses=[] if run.rollouts else visits,
            **({"rewards": visits} if run.rollouts else {}),
            before=_number(trace.before.get(row)),
            after=_number(trace.after.get(row)),
        )


def _pieces(base: Base, row: TokenRow) -> list[tuple[str, bool]]:
    """The text of a row in stretches that are learnt or not, special tokens and all."""
    runs = groupby(zip(row.tokens, row.learnt, strict=True), key=lambda pair: pair[1])
    return [(str(base.tokenizer.decode([token for token, _ in run])), learnt) for learnt, run in runs]


def _number(loss: float | None) -> float | None:
    return round(loss, 6) if loss is not None and math.isfinite(loss) else None


def _line(kind: str, **content: object) -> bytes:
    return json.dumps({"kind": kind, **content}, ensure_ascii=False).encode() + b"\n"
