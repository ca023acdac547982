"""Following jobs until they end, whatever happens in between; what came of one; pausing and cancelling."""

import re
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

import openai

from workbench.catalog.limits import of_provider
from workbench.catalog.methods import method_of
from workbench.catalog.providers import provider_of
from workbench.catalog.service_errors import hinted
from workbench.display import table
from workbench.errors import SetupError
from workbench.project import STARTED_BY
from workbench.training.curve import REWARD, Curve
from workbench.training.curve_files import read_curve
from workbench.training.jobs import hints

if TYPE_CHECKING:
    from openai import OpenAI
    from openai.types.fine_tuning import FineTuningJob, FineTuningJobEvent
    from openai.types.fine_tuning.jobs import FineTuningJobCheckpoint

# Following a job, or several, until they end, and the checkpoints they leave.
#
# All that is needed is the job's id, so a job can be followed on after a kernel or a network was lost. The
# consumer decides about waiting and drawing; to stop following stops nothing else.

ENDED = ("succeeded", "failed", "cancelled")
STATES: Mapping[str, str] = MappingProxyType(
    {
        "validating_files": "The files are checked",
        **dict.fromkeys(("pending", "queued", "created"), "Waiting for its turn"),
        "running": "Training",
        "pausing": "Pausing after this step",
        "paused": "Paused",
        "resuming": "Going on",
        "succeeded": "Finished",
        "failed": "Failed",
        "cancelled": "Cancelled",
    }
)
"""What a person reads for a job's status."""
_PAGE = 100
_LONGEST_WAIT = 60.0  # seconds; a service may ask for more, but somebody is watching

# A lost network, a service that restarts or is too busy: all of them pass.
_PASSING = (openai.APIConnectionError, openai.RateLimitError, openai.InternalServerError)


@dataclass(frozen=True)
class Progress:
    """A job as it stands: its state, its whole curve so far, and all its events, oldest first."""

    job: "FineTuningJob"
    curve: Curve
    events: tuple["FineTuningJobEvent", ...]
    results: bytes = b""
    """The result file so far."""

    @property
    def ended(self) -> bool:
        """Whether the job succeeded, failed or was cancelled."""
        return self.job.status in ENDED

    @property
    def result(self) -> "JobResult":
        """What came out of the job; a ``SetupError`` where it failed, was cancelled or has not ended."""
        return job_result(self)

    def pace(self, total: int | None = None) -> "Pace":
        """How far the job is and how fast; ``total`` steps count where the service does not tell its own."""
        return _pace(self, total)

    def __repr__(self) -> str:
        """The job's state, then the curve's summary."""
        return f"{self.job.id}: {self.job.status}\n{self.curve!r}"


def follow(
    client: "OpenAI",
    job: "FineTuningJob | str",
    *,
    poll_seconds: float = 1.0,
    patience_seconds: float = 60.0,
) -> "Following":
    """Watch a job: yields at once, whenever something is new, and last when it has ended.

    ``job`` may be its id. Only new events are read. Without any answer for
    ``patience_seconds`` a ``SetupError`` is raised; the job goes on all the same.
    """
    news = follow_all(client, (job,), poll_seconds=poll_seconds, patience_seconds=patience_seconds)
    return Following(client, news)


class Following(Iterator[Progress]):
    """The progress of a job as it comes, and what can be done to the job meanwhile, from any thread."""

    def __init__(self, client: "OpenAI", news: Iterator[Progress]) -> None:
        """``news`` comes from the service of ``client``."""
        self._client, self._news = client, news

    def __next__(self) -> Progress:
        """Wait for the next news; the last has the job that ended."""
        return next(self._news)

    def choices(self, job: "FineTuningJob") -> "Choices":
        """What can be done to the job as it stands, and what would it cost?"""
        return choices(self._client, job)

    def change(self, job: "FineTuningJob", verb: "Verb") -> "FineTuningJob":
        """Pause, resume or cancel it."""
        return change_job(self._client, job, verb)


def follow_all(
    client: "OpenAI",
    jobs: "Iterable[FineTuningJob | str]",
    *,
    poll_seconds: float = 1.0,
    patience_seconds: float = 60.0,
) -> Iterator[Progress]:
    """Watch several jobs in turn, each as ``follow`` does, until the last of them has ended.

    The ``job`` of what is yielded is the one that has news.
    """
    running = dict.fromkeys(id_of(job) for job in jobs)
    known: dict[str, Progress] = {}
    lost_since: float | None = None
    wait = 0.0
    while running:
        time.sleep(wait)
        wait = poll_seconds
        for job_id in tuple(running):
            last = known.get(job_id)
            try:
                now = _progress(client, job_id, last)
            except _PASSING as error:
                lost_since = lost_since or time.monotonic()
                if time.monotonic() - lost_since >= patience_seconds:
                    raise SetupError(_lost(client, tuple(running), patience_seconds)) from error
                wait = max(wait, _asked_to_wait(error))
                continue
            lost_since, known[job_id] = None, now
            if now.ended:
                del running[job_id]
            if last is None or _state(now) != _state(last):
                yield now


def _state(now: Progress) -> tuple[str, int, bytes]:
    return now.job.status, len(now.events), now.results


def _progress(client: "OpenAI", job_id: str, last: Progress | None) -> Progress:
    """Ask for the job first: when it has ended, what is asked for next is complete."""
    job = client.fine_tuning.jobs.retrieve(job_id)
    seen, known = (last.events, last.results) if last else ((), b"")
    events = seen + _new_events(client, job_id, seen)
    results = _results(client, job, known)
    if last and len(events) == len(seen) and results == known:
        return Progress(job, last.curve, events, results)
    curve = read_curve(events)
    whole = read_curve(results).merge(curve) if results.strip() else curve
    return Progress(job, whole, events, results)


def _new_events(
    client: "OpenAI", job_id: str, seen: tuple["FineTuningJobEvent", ...]
) -> tuple["FineTuningJobEvent", ...]:
    """Read page by page, newest first, until a page holds an event we have; give them oldest first."""
    ids = {event.id for event in seen}
    new: list[FineTuningJobEvent] = []
    after: str | openai.Omit = openai.omit
    while True:
        page = client.fine_tuning.jobs.list_events(job_id, limit=_PAGE, after=after)
        unseen = [event for event in page.data if event.id not in ids]
        new += unseen
        if len(unseen) < len(page.data) or not page.data or not page.has_more:
            return tuple(reversed(new))
        after = page.data[-1].id


def _results(client: "OpenAI", job: "FineTuningJob", known: bytes) -> bytes:
    """The result file so far; it is fetched only when its size has changed, or its size is unknown."""
    for file_id in job.result_files or ():
        try:
            size = client.files.retrieve(file_id).bytes
            return known if known and size == len(known) else client.files.content(file_id).read()
        except openai.NotFoundError:  # it is announced before it is there
            continue
    return known


def _asked_to_wait(error: openai.OpenAIError) -> float:
    """The seconds for which a busy service wants to be left alone."""
    wait = error.response.headers.get("retry-after", "") if isinstance(error, openai.APIStatusError) else ""
    return min(float(wait), _LONGEST_WAIT) if re.fullmatch(r"\d+(\.\d+)?", wait) else 0.0


def _lost(client: "OpenAI", jobs: tuple[str, ...], seconds: float) -> str:
    these = f"Job {jobs[0]} goes" if len(jobs) == 1 else f"Jobs {', '.join(jobs)} go"
    return (
        f"No answer from {client.base_url.netloc.decode()} for {seconds:.0f} s. "
        f"{these} on without us; connect again and follow by id."
    )


def id_of(job: "FineTuningJob | str") -> str:
    """The id of a job that is given as an object or by its id."""
    return job if isinstance(job, str) else job.id


# How far a job is, and how fast: by the steps that its events tell of and the times at which they came.
#
# A service's own estimate of the end is not shown: Azure's has been wrong by weeks.

_STEP = re.compile(r"Step (\d+)(?:/(\d+))?")  # OpenAI tells of how many, and here "total_steps" does
_WINDOW = 10  # events that tell of a step: the speed is that of the last ones


@dataclass(frozen=True)
class Pace:
    """How far a job is, and how fast; ``None`` where it is not known."""

    step: int
    total: int | None
    seconds: float | None
    """From the word that training started to the last word, pauses included."""
    seconds_left: float | None
    tokens_per_second: float | None

    @property
    def share(self) -> float | None:
        """The part of the steps that is done, 0 to 1."""
        return min(self.step / self.total, 1.0) if self.total else None

    @property
    def words(self) -> str:
        """``step 71 of 134 (53 %), about 1 min left, 2,310 tokens a second``."""
        if not self.step:
            return ""
        of = "" if self.share is None else f" of {self.total:,} ({100 * self.share:.0f} %)"
        left = "" if self.seconds_left is None else f"about {_span(self.seconds_left)} left"
        speed = "" if self.tokens_per_second is None else f"{self.tokens_per_second:,.0f} tokens a second"
        return ", ".join(filter(None, (f"step {self.step:,}{of}", left, speed)))


def _pace(progress: Progress, total: int | None) -> Pace:
    job, events = progress.job, progress.events
    begun = [place for place, event in enumerate(events) if event.message in STARTED]
    first = events[begun[0]].created_at if begun else None
    until = job.finished_at or (events[-1].created_at if events else None)
    seconds = None if first is None or until is None else float(max(0, until - first))
    since = events[begun[-1] :] if begun else ()  # a resumed job starts anew
    rows = [
        (event.created_at, int(found[1]), found[2], event.data if isinstance(event.data, Mapping) else {})
        for event in since
        if (found := _STEP.match(event.message))
    ]
    for _, _, of, data in rows[-1:]:
        total = int(of or data.get("total_steps") or 0) or total
    step = progress.curve.steps
    if progress.ended:
        speed = job.trained_tokens / seconds if job.trained_tokens and seconds else None
        return Pace(step, step if job.status == "succeeded" else total, seconds, None, speed)
    if len(rows) < 2 or job.status != "running":
        return Pace(step, total, seconds, None, None)
    (start, early, _, before), (end, late, _, after) = rows[-_WINDOW:][0], rows[-1]
    took = max(end - start, 0)
    left = (total - step) * took / (late - early) if total and took and late > early else None
    known = [data.get("trained_tokens") for data in (before, after)]
    counts = [number for number in known if isinstance(number, int | float)]
    speed = (counts[1] - counts[0]) / took if len(counts) == 2 and took else None
    return Pace(step, total, seconds, None if left is None else max(left, 0.0), speed)


def _span(seconds: float) -> str:
    """A length of time as a person says it: 40 s, 3 min, 2 h 10 min."""
    if seconds < 90:
        return f"{max(seconds, 1):.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


# What came out of a job: the tuned model, what it was really trained with, and how long that took.
#
# Read from the job and its events alone. Whether the curve looks healthy and
# whether the model is better is judged elsewhere.

STARTED = ("Training started.", "Fine-tuning job started")  # Azure and here; OpenAI


@dataclass(frozen=True)
class JobResult:
    """A job that succeeded."""

    job: "FineTuningJob"
    training_seconds: int
    facts: dict[str, str | int | float]  # for people, in the order they are shown

    @property
    def model(self) -> str:
        """The tuned model's name, to be asked like any other."""
        return str(self.job.fine_tuned_model)

    def __repr__(self) -> str:
        """Show a fact a line."""
        return "\n".join(f"{name}: {value}" for name, value in self.facts.items())

    def _repr_html_(self) -> str:
        rows = [(name, str(value)) for name, value in self.facts.items()]
        return table("The training has succeeded", ("fact", "value"), rows)


@dataclass(frozen=True)
class KeptCheckpoint:
    """The checkpoints of a job: what each is called, and what was measured there."""

    checkpoints: tuple["FineTuningJobCheckpoint", ...]

    @property
    def models(self) -> list[str]:
        """Their names, newest first; each can be asked like any other model."""
        return [checkpoint.fine_tuned_model_checkpoint for checkpoint in self.checkpoints]

    @property
    def steps(self) -> list[int]:
        """Where each was saved, newest first."""
        return [checkpoint.step_number for checkpoint in self.checkpoints]

    def __repr__(self) -> str:
        """Name one a line."""
        return "\n".join(f"step {c.step_number}: {c.fine_tuned_model_checkpoint}" for c in self.checkpoints)

    def _repr_html_(self) -> str:
        columns = ("step", "model", "validation loss", "validation tokens right", "held-out answers right")
        rows = []
        for checkpoint in self.checkpoints:
            measured = checkpoint.metrics.model_dump()
            loss, *shares = map(measured.get, ("full_valid_loss", "full_valid_mean_token_accuracy", REWARD))
            name = checkpoint.fine_tuned_model_checkpoint
            shown = ("" if share is None else f"{share:.0%}" for share in shares)
            rows.append((checkpoint.step_number, name, "" if loss is None else f"{loss:.4g}", *shown))
        return table("Checkpoints that can be used, newest first", columns, rows)


def job_result(progress: "Progress") -> JobResult:
    """Give what came out of a job that has ended; one that failed or was cancelled is a ``SetupError``.

    ``training_seconds`` run from the service's word that training started, or
    from the job's creation where it does not say so, to the job's end.
    """
    job = progress.job
    if job.status != "succeeded" or job.finished_at is None or job.fine_tuned_model is None:
        how = {"failed": "failed", "cancelled": "was cancelled"}.get(job.status, f"is {job.status}")
        message = job.error.message if job.error else ""
        reason = f" ({hinted(message).removesuffix('.')})" if message else own_pause(job)
        notebook = STARTED_BY[method_of(job).name]
        waiting = "resume" if str(job.status) == "paused" else "wait for"
        way_out = f"run {notebook} again" if progress.ended else f"{waiting} it in {notebook}"
        raise SetupError(f"Job {job.id} {how}{reason}; {way_out}.")
    started = next((e.created_at for e in progress.events if e.message in STARTED), job.created_at)
    seconds = job.finished_at - started
    # In a job's answer these stand where the service resolved "auto".
    used = job.hyperparameters.model_dump(exclude_none=True)
    facts: dict[str, str | int | float] = {
        "job": job.id,
        "tuned model": job.fine_tuned_model,
        "base model": job.model,
        **{name: value for name, value in used.items() if isinstance(value, str | int | float)},
        "steps": progress.curve.steps,
        "trained tokens": job.trained_tokens or "unknown",
        "training seconds": seconds,
    }
    if REWARD in progress.curve.final:
        reward = progress.curve.final[REWARD]
        if method_of(job).grader == "required":  # its reward may be of any scale
            facts["held-out reward"] = f"{reward:.3g}"
        else:
            facts["held-out answers right"] = f"{reward:.0%}"
    return JobResult(job, seconds, facts)


def own_pause(job: "FineTuningJob") -> str:
    """Why a paused job may stand still although nobody paused it; nothing where no service does that."""
    most = of_provider("azure").pause_usd
    if str(job.status) != "paused" or method_of(job).billed_by != "hours" or most is None:
        return ""
    return (
        f"; Azure pauses such a job by itself at ${most:,} of training and grading: to resume it lifts that "
        "limit, and its newest checkpoint can be deployed as it is"
    )


def kept_checkpoints(client: "OpenAI", job: "FineTuningJob | str") -> KeptCheckpoint:
    """List the states of the model that can still be used, newest first."""
    return KeptCheckpoint(tuple(client.fine_tuning.jobs.checkpoints.list(id_of(job), limit=_PAGE)))


# Pausing, resuming and cancelling a job, and what each of them costs.
#
# What can be done now is read from the job alone; a service that refuses gives its own reason.
# Source of the rules and costs: Microsoft Learn, "Customize a model with fine-tuning" (09/25/2026) and
# "Fine-tuning cost management" (03/19/2026).

_BEGUN = ("running", "pausing", "paused", "resuming")

Verb: TypeAlias = Literal["pause", "resume", "cancel"]


class JobAction(NamedTuple):
    """One thing that can be done to a job."""

    verb: Verb
    possible: bool
    when: str
    costs: str


@dataclass(frozen=True, repr=False)
class Choices:
    """What can be done to a job as it stands, and what each costs."""

    job: "FineTuningJob"
    all: tuple[JobAction, ...]

    def __repr__(self) -> str:
        """Name one a line."""
        return "\n".join(
            f"{each.verb} ({'possible' if each.possible else 'not now'}: {each.when}): costs {each.costs}."
            for each in self.all
        )

    def _repr_html_(self) -> str:
        rows = [(each.verb, "yes" if each.possible else "no", each.when, each.costs) for each in self.all]
        caption = f"{self.job.id}: {STATES.get(self.job.status, self.job.status).lower()}"
        return table(caption, ("to", "possible now", "when", "what it costs"), rows)


def choices(client: "OpenAI", job: "FineTuningJob") -> Choices:
    """What can I do to this job now, and what would it cost?"""
    service, by_the_hour = provider_of(client), method_of(job).billed_by == "hours"
    paused = "nothing beyond what was trained; a checkpoint that can be deployed comes after the safety check"
    resumed = "what is still to be trained"
    if by_the_hour and service.limits.pause_usd is not None:
        resumed += f"; Azure's own pause at ${service.limits.pause_usd:,} does not come again"
    cancelled = "what was trained may be billed; the documents promise nothing once training has begun"
    if job.status not in _BEGUN:
        cancelled = "nothing, because training has not begun"
    elif by_the_hour:
        cancelled = "the hours trained so far, and what the grader has read and written"
    started = "while it runs and after its first step; on Azure for OpenAI's models only, and not for gpt-5"
    if service.runs_here:
        started, paused, resumed, cancelled = "while it runs", *["nothing"] * 3
    return Choices(
        job,
        (
            JobAction("pause", job.status == "running", started, paused),
            JobAction("resume", str(job.status) == "paused", "when it is paused", resumed),
            JobAction("cancel", job.status not in ENDED, "at any time before its end, for good", cancelled),
        ),
    )


def change_job(client: "OpenAI", job: "FineTuningJob | str", verb: Verb) -> "FineTuningJob":
    """Pause, resume or cancel a job.

    A paused job keeps its place and leaves a checkpoint that can be used; one that Azure paused at its
    price limit is resumed without that limit; a cancelled one is ended for good, and its checkpoints stay.
    """
    jobs = client.fine_tuning.jobs
    ask = {"pause": jobs.pause, "resume": jobs.resume, "cancel": jobs.cancel}[verb]
    with hints(client):
        return ask(id_of(job))
