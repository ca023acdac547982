"""Before a job is paid for: what will be sent, what is new in it, what it will cost, what stands in its way.

``preflight`` starts nothing and uploads nothing. What it shows is what ``launch`` sends; one that has
errors is not launched, and one whose job is there already is found again and costs nothing.
"""

import datetime
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from workbench import catalog
from workbench.catalog.limits import TRAINING_TYPES, Limits, in_words
from workbench.catalog.methods import METHODS
from workbench.catalog.models import Model, base_name, is_tuned
from workbench.catalog.providers import Provider, provider_of
from workbench.dataset.check.counts import Counts, no_validation, sizes
from workbench.dataset.check.methods import grader_findings, response_format_findings
from workbench.dataset.check.row import Finding, Row
from workbench.dataset.check.rules import Rules, completed
from workbench.dataset.check.sources import DatasetSource
from workbench.dataset.dataset import Dataset, counted
from workbench.display import table
from workbench.errors import SetupError
from workbench.evaluation.graders.grader_types import check_in_training
from workbench.evaluation.graders.grades import BadGraderError, Grader
from workbench.project import JSON
from workbench.training.cost import (
    CostCap,
    Estimate,
    Rates,
    cost_findings,
    dollars,
    pause_findings,
    token_findings,
)
from workbench.training.jobs import known_job, start_or_find, uploaded
from workbench.training.lineage import lineage
from workbench.training.spec import (
    ExplainedHyperparameter,
    JobSpec,
    SpecChange,
    changes,
    explained_hyperparameters,
    file_content,
    file_name,
    guessed_steps,
    model_findings,
)

if TYPE_CHECKING:
    from openai import OpenAI
    from openai.types import FileObject
    from openai.types.fine_tuning import FineTuningJob

    from workbench.project import Project
    from workbench.training.follow import Progress

# The limits of data, settings and queue: what stands in the way of a job, and what is worth knowing.
#
# All is read from the request and from what the service has already. The numbers are the provider's own
# (``catalog.limits``); the model's limits are ``model_findings``' business.

BOLD = 2.0  # of learning rates: one that ruined a Llama 3.3 (Microsoft's fine-tuning skill, 2026-08-20)


def data_findings(spec: JobSpec, service: Provider) -> Iterator[Finding]:
    """Are there enough examples, sound ones, in files of a size that can be sent?"""
    for role, dataset in (("training", spec.training), ("validation", spec.validation)):
        if dataset is None:
            yield from no_validation(spec.trained_by.short, service.limits)
            continue
        rows = [Row(number, example.wire) for number, example in enumerate(dataset)]
        counts = Counts(spec.trained_by.short, role, service.limits)
        counts.add(rows)
        found = [finding for finding, _ in counts.found(DatasetSource(dataset))]
        found += [*_size(len(file_content(dataset)), service.limits), *_format(dataset, rows, spec)]
        yield from (finding._replace(path=f"{role}_file") for finding in found)


def _size(size: int, limits: Limits) -> Iterator[Finding]:
    """A file too large for one upload is sent in parts; what is too large for that as well stays so."""
    largest = min(filter(None, (limits.max_upload_bytes, limits.max_all_files_bytes)), default=0)
    if limits.in_one_upload is None or not limits.in_one_upload < size <= largest:
        yield from sizes(size, limits)
        return
    part = in_words(limits.max_part_bytes or limits.in_one_upload)
    message = f"the file has {size / 1024**2:,.0f} MB, so it is uploaded in parts of {part}"
    fix = "nothing to do: launched again, an upload that was cut off goes on where it stopped"
    yield Finding("info", "size", "", message, fix)


def hyperparameter_findings(spec: JobSpec, service: Provider) -> Iterator[Finding]:
    """Is every setting in its range?"""
    known = spec.trained_by
    for name, value in spec.sent_hyperparameters.items():
        entry, place = known.hyperparameter(name), f"hyperparameters.{name}"
        if entry is None:
            names = ", ".join(each.name for each in known.hyperparameters)
            message = f"{known.name} has no hyperparameter {name}"
            yield Finding("error", "range", place, message, f"it has {names}")
        elif not entry.allows(value):
            shown = f"'{value}'" if isinstance(value, str) else f"{value:g}"
            yield Finding("error", "range", place, f"{name} is {shown}", f"give {entry.span}, or None")
        elif entry.only_local and not service.runs_here:
            message = f"{name} is the local service's own, and {service.name} does not know it"
            yield Finding("error", "range", place, message, "leave it out")
        elif entry.only_with_grader and not spec.grader:
            message = f"{name} says how answers are graded while it trains, and there is no grader"
            yield Finding("error", "range", place, message, "give one: grader=…, or leave it out")
    epochs, rate = map(spec.hyperparameters.get, ("n_epochs", "learning_rate_multiplier"))
    limits = service.limits
    if isinstance(epochs, int) and limits.checkpoints_kept and epochs > limits.checkpoints_kept:
        kept = f"only the last {limits.checkpoints_kept} of {epochs} epochs are kept"
        message = f"{kept}, and an earlier one may be best"
        yield Finding("info", "checkpoints", "hyperparameters.n_epochs", message, "watch the validation loss")
    if isinstance(rate, int | float) and rate >= BOLD:
        message = f"learning_rate_multiplier is {rate:g}, and {BOLD:g} has ruined models"
        fix = "start with None, or with 1 and less"
        yield Finding("warning", "bold", "hyperparameters.learning_rate_multiplier", message, fix)
    if spec.seed < 0 or (limits.max_seed is not None and spec.seed > limits.max_seed):
        fix = "give 0 or more" if limits.max_seed is None else f"give 0 to {limits.max_seed:,}"
        yield Finding("error", "range", "seed", f"seed is {spec.seed}", fix)
    yield from _suffix(spec.suffix, limits)
    yield from _response_format(spec)
    yield from _grader(spec, service)


def start_findings(spec: JobSpec, service: Provider) -> Iterator[Finding]:
    """May a job by this method start from a tuned model here?"""
    if not is_tuned(spec.model) or not service.azure:
        return
    name = spec.trained_by.short.upper()
    try:
        base: Model | None = catalog.model(spec.model)
    except SetupError:
        base = None
    if base is not None and base.open_weights:
        said = f"({METHODS['supervised'].from_tuned})"
        message = f"{service.name} trains only OpenAI's own tuned models further, not {base.name}'s {said}"
        yield Finding("error", "continued", "model", message, f"start from {base_name(spec.model)} itself")
    elif spec.trained_by.from_tuned is None:
        message = f"no page of {service.name}'s says that {name} may start from a tuned model"
        yield Finding("warning", "continued", "model", message, "try; a refusal costs nothing")
    else:
        message = f"{name} may start from a tuned model ({spec.trained_by.from_tuned})"
        yield Finding("info", "continued", "model", message, "it is priced and dated as its base model")


def lineage_findings(
    client: "OpenAI", spec: JobSpec, project: "Project | None", *, continue_anyway: bool
) -> Iterator[Finding]:
    """How was the tuned model made that the job starts from, and does the record speak against it?"""
    if project is None or not is_tuned(spec.model):
        return
    line = lineage(project, client, model=spec.model)
    start = line.steps[-1]
    yield Finding("info", "lineage", "model", f"it goes on from {line.path}", "draw it: 05_loss_curves does")
    for sentence in line.missing:
        fix = "evaluate it before you train it further"
        yield Finding("warning", "lineage", "model", sentence.removesuffix("."), fix)
    for each in start.drawbacks:
        level = "error" if each.grave and not continue_anyway else "warning"
        fix = ", or ".join(
            filter(None, (f"start from {start.started_from} or an earlier checkpoint", each.remedy))
        )
        fix += ", or say continue_anyway=True (CONTINUE_ANYWAY in the notebook)" if level == "error" else ""
        yield Finding(level, "got_worse", "model", f"{start.model} {each.why}", fix)


def queue_findings(
    spec: JobSpec, service: Provider, jobs: Sequence["FineTuningJob"], files: Sequence["FileObject"]
) -> Iterator[Finding]:
    """Can the service take one more job and its files?"""
    limits, queued, running = service.limits, count(jobs, "queued"), count(jobs, "running")
    if _reached(queued, limits.max_queued):
        message = f"{queued} jobs are queued, and {limits.max_queued} is the most"
        yield Finding("error", "queue", "", message, "wait for one, or cancel one")
    if service.runs_here:  # its other limits are options of its start
        return
    developer = (spec.training_type or "").lower() == "developertier"
    at_once = limits.max_running_developer if developer else limits.max_running
    if _reached(running, at_once):
        message = f"{running} jobs run already, and {at_once} run at once, so this one will wait"
        yield Finding("info", "queue", "", message, "wait, or cancel one")
    if _reached(len(jobs), limits.max_jobs):
        message = f"the resource has {len(jobs)} jobs, and {limits.max_jobs} is its documented limit"
        yield Finding("warning", "queue", "", message, "take another resource if it is refused")
    if _reached(len(files) + 1, limits.max_files):
        message = f"the resource has {len(files)} files, and {limits.max_files} is the most"
        yield Finding("error", "files", "", message, "delete files of jobs that have ended")
    used = sum(file.bytes for file in files)
    more = sum(len(file_content(data)) for data in (spec.training, spec.validation) if data)
    most = limits.max_all_files_bytes
    if most is not None and used + more > most:
        message = (
            f"with these there would be {(used + more) / 1024**2:,.0f} MB of files, "
            f"and {in_words(most)} is the most"
        )
        yield Finding("error", "files", "", message, "delete files of jobs that have ended")


def _reached(number: int, most: int | None) -> bool:
    return most is not None and number >= most


def count(jobs: Sequence["FineTuningJob"], state: str) -> int:
    """How many jobs are ``queued`` or ``running``, in the words of any service."""
    words = {
        "queued": ("pending", "queued", "validating_files", "created"),
        "running": ("running", "pausing", "resuming"),
    }
    return sum(job.status in words[state] for job in jobs)


def _format(dataset: Dataset, rows: Sequence[Row], spec: JobSpec) -> Iterator[Finding]:
    """The first row by each rule that the service would refuse, and how many follow."""
    known = spec.trained_by
    rules = Rules(known.format, spec.grader if known.grader == "required" else None)
    found: dict[str, list[tuple[int, Finding]]] = {}
    for row in rows:
        if not rules.plain(row.value):
            for finding in rules.findings(row.value):
                if finding.level == "error":
                    found.setdefault(finding.rule, []).append((row.number, finding))
    for places in found.values():
        number, first = places[0]
        more = len({number for number, _ in places}) - 1
        where = dataset[number].origin + (f" and {counted(more, 'more place')}" if more else "")
        yield first._replace(message=f"{where}: {first.message}")


def _suffix(suffix: str | None, limits: Limits) -> Iterator[Finding]:
    if suffix is None:
        return
    if not limits.suffix.fullmatch(suffix):
        message = f"'{suffix}' cannot be a suffix"
        yield Finding("error", "suffix", "suffix", message, limits.suffix_in_words)
    elif limits.max_portal_suffix is not None and len(suffix) > limits.max_portal_suffix:
        message = f"the suffix has {len(suffix)} characters, and the portal takes {limits.max_portal_suffix}"
        yield Finding("warning", "suffix", "suffix", message, "shorten it if it is refused")


def _response_format(spec: JobSpec) -> Iterator[Finding]:
    if spec.response_format is None:
        return
    yield from map(completed, response_format_findings(spec.response_format))
    if "response_format" not in spec.trained_by.other_settings:
        message = f"a {spec.trained_by.name} job takes no response_format"
        yield Finding("error", "response_format", "response_format", message, "leave it out")


def _grader(spec: JobSpec, service: Provider) -> Iterator[Finding]:
    grader, known = spec.grader, spec.trained_by
    if grader is None:
        if known.grader == "required":
            message = f"a {known.name} job has nothing to learn from without a grader"
            yield Finding("error", "grader", "grader", message, "give one: grader=…")
        return
    wrong = [found for found in grader_findings(grader) if found.level == "error"]
    yield from wrong
    if known.grader == "none":
        yield Finding("error", "grader", "grader", f"a {known.name} job takes no grader", "leave it out")
    if known.grader != "local":
        return
    if not service.grades_while_training:
        message = f"{service.name} takes no grader in a {known.name} job"
        yield Finding("error", "grader", "grader", message, "leave it out, and use evaluate afterwards")
        return
    if spec.validation is None:
        message = "a grader needs held-out questions to be asked"
        yield Finding("error", "grader", "grader", message, "give validation data, or leave the grader out")
    try:
        check_in_training(grader)
    except BadGraderError as error:
        if not wrong:
            finding, _, fix = error.finding.partition("; ")
            yield Finding("error", "grader", error.path, f"it {finding}", fix)


def grader_in_training(client: "OpenAI", grader: Grader) -> tuple[Grader | None, str]:
    """The grader, if a supervised job can grade held-out answers by it while it trains; and a sentence.

    None where the service takes none in such a job, and where the grader asks a model or reads more of an
    item than question and answer; the sentence says which.
    """
    service, name = provider_of(client), grader["name"]
    afterwards = f"06_evaluate grades by {name} afterwards"
    if not service.grades_while_training:
        return None, f"{service.name} takes no grader in a supervised job; {afterwards}."
    try:
        check_in_training(grader)
    except BadGraderError as error:
        finding = error.finding.partition("; ")[0]
        return None, f"Nothing is graded while it trains, as {error.path} {finding}; {afterwards}."
    return grader, f"Answers to validation questions are graded by {name} while it trains."


_LEVELS = ("error", "warning", "info")


@dataclass(frozen=True, repr=False)
class Preflight:
    """A job as it would be sent, and all that there is to know about it first."""

    spec: JobSpec
    host: str
    """The service that it would be sent to."""
    body: Mapping[str, JSON]
    """What would be sent; where a file is not uploaded yet, its name stands for its id."""
    hyperparameters: tuple[ExplainedHyperparameter, ...]
    changes: tuple[SpecChange, ...] | None
    """What differs from the project's last run; ``None`` where none is on record."""
    cost: Estimate | None
    """``None`` where the model is not in the catalogue, or its tokens cannot be counted."""
    cap: CostCap | None
    """What it may cost, for ``alerts``; ``None`` where no cap was given."""
    training_types: Mapping[str, Estimate]
    """What it would cost in each training type that this model is trained in; empty where there are none."""
    steps_guessed: tuple[int, int] | None
    """How many steps it will take at least and at most; ``None`` where nobody can tell."""
    findings: tuple[Finding, ...]
    """What stands in the way or is worth knowing, the worst first."""
    queued: int
    running: int
    known: "FineTuningJob | None"
    """The job of the same content that is there already: it is found, and nothing is started."""

    @property
    def errors(self) -> tuple[Finding, ...]:
        """What must be put right before it can start."""
        return tuple(finding for finding in self.findings if finding.level == "error")

    @property
    def ok(self) -> bool:
        """Whether ``launch`` gives a job."""
        return self.known is not None or not self.errors

    def steps(self, job: "FineTuningJob") -> int | None:
        """How many steps it should take with the epochs and the batch size that the service has chosen."""
        used = job.hyperparameters.model_dump() if job.hyperparameters else {}
        epochs, batch = used.get("n_epochs"), used.get("batch_size")
        if not isinstance(epochs, int) or not isinstance(batch, int) or min(epochs, batch) < 1:
            return None
        return math.ceil(len(self.spec.training) * epochs / batch)

    def cost_so_far(self, progress: "Progress") -> str:
        """What it has cost by now, where prices are known: the share of the tokens, or the hours."""
        likely, share = self.cost.likely if self.cost else None, progress.pace(self.steps(progress.job)).share
        if likely == 0:
            return "costs nothing here"
        if self.cap and self.cap.usd_per_hour is not None and (usd := self.cap.cost(progress)) is not None:
            return f"about {dollars(round(usd, 2))} so far"
        if likely is None or share is None:
            return ""
        return f"about {dollars(round(likely * share, 2))} of {dollars(round(likely, 2))} so far"

    def __str__(self) -> str:
        """The sum in a sentence."""
        spec = self.spec
        examples = counted(len(spec.training), spec.trained_by.row_noun)
        what = f"{spec.model} on {examples} ({spec.trained_by.short}) at {self.host}"
        if self.known is not None:
            return (
                f"{what}: job {self.known.id} is there already ({self.known.status}); nothing is paid again"
            )
        wrong = f"{counted(len(self.errors), 'thing')} in the way" if self.errors else "nothing in the way"
        return f"{what}: {wrong}; {counted(self.queued, 'job')} queued there, {self.running} running"

    def __repr__(self) -> str:
        """All of it, line by line."""
        return "\n".join([str(self), *(": ".join(filter(None, row)) for row in self._rows())])

    def _repr_html_(self) -> str:
        body = escape(json.dumps(self.body, indent=2, ensure_ascii=False))
        request = f'<summary>The request, word for word</summary><pre style="text-align:left">{body}</pre>'
        return f"{table(str(self), ('', '', 'why'), self._rows())}<details>{request}</details>"

    def _rows(self) -> Iterator[tuple[str, str, str]]:
        yield from self._training_types()
        for each in self.hyperparameters:
            yield each.name, f"{each.value}{each.guess and '; '}{each.guess}", each.reason
        if self.steps_guessed is not None:
            least, most = self.steps_guessed
            span = f"{least:,}" if least == most else f"{least:,} to {most:,}"
            yield "steps", f"about {span}", "examples times epochs, divided by the batch size"
        if self.changes is None:
            yield "since the last run", "none is on record", ""
        elif not self.changes:
            yield "since the last run", "nothing has changed", ""
        for change in self.changes or ():
            yield f"changed: {change.what}", f"{change.before} → {change.now}", ""
        yield (
            "cost",
            str(self.cost) if self.cost else "not known",
            "; ".join(self.cost.notes if self.cost else ()),
        )
        for finding in self.findings:
            place = f" ({finding.path})" if finding.path else ""
            yield f"{finding.level}{place}", finding.message, finding.fix

    def _training_types(self) -> Iterator[tuple[str, str, str]]:
        """That of the job first, then what the others would cost, the dearest first."""
        chosen = self.spec.training_type
        if chosen is None:
            return
        for type in dict.fromkeys((chosen, *self.training_types)):
            known, cost = TRAINING_TYPES.get(type), self.training_types.get(type)
            likely = cost.likely if cost else None
            usd = "price not known" if likely is None else f"about {dollars(round(likely, 2))}"
            label = "training type" if type == chosen else "instead"
            yield label, f"{known or type}: {usd}", known.about if known else ""


def preflight(
    client: "OpenAI",
    spec: JobSpec,
    *,
    project: "Project | None" = None,
    cost_cap: float | None = None,
    price: float | None = None,
    hours: float | None = None,
    region: str | None = None,
    existing_customer: bool | None = None,
    continue_anyway: bool = False,
    on: datetime.date | None = None,
) -> Preflight:
    """What would happen if I started this job? Asks the service for its models, jobs and files only.

    ``cost_cap``: US dollars that it may likely cost. ``price``: yours, per million tokens or per hour,
    in place of the catalogue's; ``hours``: how long a reinforcement job will train. ``region``: where an
    Azure resource is. ``existing_customer``: whether your subscription deployed this version before it was
    closed to new customers; ``None``: not known. ``continue_anyway``: train a tuned model further although
    the project's record says that it got worse or learnt nothing. ``on``: the day to judge by, today by
    default.
    """
    service = provider_of(client)
    today = on or datetime.date.today()
    spec = spec.at(service)
    jobs = list(client.fine_tuning.jobs.list(limit=100))
    files = list(client.files.list(purpose="fine-tune"))
    listed = [each.id for each in client.models.list()]
    rates = Rates(service, spec, price, today, region)
    cost, why_not = rates.cost(hours)
    new = changes(spec, service.name, project) if project else None
    findings = [
        *model_findings(
            spec,
            service,
            listed=listed,
            region=region,
            existing_customer=existing_customer,
            deployments=_deployments(project),
            on=today,
        ),
        *start_findings(spec, service),
        *lineage_findings(client, spec, project, continue_anyway=continue_anyway),
        *data_findings(spec, service),
        *hyperparameter_findings(spec, service),
        *queue_findings(spec, service, jobs, files),
        *cost_findings(cost, why_not, cost_cap),
        *pause_findings(spec, service, cost_cap),
        *token_findings(rates.tokens if cost else 0, rates.n_epochs or 1, service.limits.max_training_tokens),
        *_of_the_changes(new),
    ]
    return Preflight(
        spec,
        client.base_url.netloc.decode(),
        _body(spec, files),
        explained_hyperparameters(spec, service),
        new,
        cost,
        None if cost_cap is None else rates.cap(cost_cap),
        rates.by_training_type(hours) if spec.training_type else {},
        guessed_steps(spec, service),
        tuple(sorted(findings, key=lambda finding: _LEVELS.index(finding.level))),
        count(jobs, "queued"),
        count(jobs, "running"),
        known_job(client, spec, project=project),
    )


def launch(
    client: "OpenAI", job: "JobSpec | Preflight", *, project: "Project | None" = None
) -> "FineTuningJob":
    """Start the job, or find the one with the same content; ``SetupError`` says what is in the way.

    A spec goes through ``preflight`` first; a preflight is launched as it was shown. What the project's
    record or the service knows already is not started again, unless it failed or was cancelled.
    """
    plan = job if isinstance(job, Preflight) else preflight(client, job, project=project)
    if plan.errors and known_job(client, plan.spec, project=project) is None:
        wrong = " ".join(f"{finding.message}: {finding.fix}." for finding in plan.errors)
        raise SetupError(f"The job is not started, and nothing was uploaded. {wrong}")
    likely = plan.cost.likely if plan.cost else None
    return start_or_find(client, plan.spec, project=project, estimated_usd=likely)


def _of_the_changes(new: tuple[SpecChange, ...] | None) -> Iterator[Finding]:
    what = [change.what for change in new or ()]
    if len(what) > 1:
        message = f"{len(what)} things have changed since the last run: {', '.join(what)}"
        yield Finding("warning", "changes", "", message, "change one a run, to know which of them helped")


def _deployments(project: "Project | None") -> Mapping[str, str]:
    """The deployments on record by their names, with the model of each."""
    made = (entry.facts for entry in (project.entries("deployment") if project else ()))
    return {str(each["name"]): str(each["model"]) for each in made}


def _body(spec: JobSpec, files: "Sequence[FileObject]") -> Mapping[str, JSON]:
    validation = spec.validation
    return spec.body(
        _file(spec.training, "train", files),
        _file(validation, "validation", files) if validation is not None else None,
    )


def _file(data: "Dataset", role: str, files: "Sequence[FileObject]") -> str:
    """Its id, or its name before it is uploaded."""
    name = file_name(data, role)
    there = uploaded(files, name, len(file_content(data)))
    return there.id if there else name
