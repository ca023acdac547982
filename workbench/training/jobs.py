"""Starting a fine-tuning job, or finding the one that already has the same content.

A job is ``openai``'s own ``FineTuningJob``. The same content (data, model,
method, hyperparameters, seed) is never started twice: not by a second kernel,
not after a restart, not by a retry. A large file is uploaded in parts. What
becomes of a job is in ``follow``.
"""

import hashlib
import json
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

import openai

from workbench import jsonl_log
from workbench.catalog.limits import in_words
from workbench.catalog.methods import method
from workbench.catalog.models import is_tuned
from workbench.catalog.providers import provider_of
from workbench.catalog.service_errors import hint, hinted
from workbench.dataset.check.report import Report
from workbench.dataset.dataset import Dataset
from workbench.dataset.read import read
from workbench.dataset.repair.changes import changes_to_jsonl
from workbench.dataset.repair.repair import Repair
from workbench.errors import DataError, SetupError
from workbench.project import JSON, Entry, Project
from workbench.settings import home, setting
from workbench.training.lineage import lineage
from workbench.training.spec import METADATA_KEY, JobSpec, file_content, file_name

if TYPE_CHECKING:
    from typing import NoReturn

    from openai import OpenAI
    from openai.types import FileObject
    from openai.types.fine_tuning import FineTuningJob
    from tqdm import tqdm

_T = TypeVar("_T")

# The data of a job, kept in the project: what is uploaded, what was repaired on the way, and their hashes.

_LEAKS = ("overlap", "near_overlap", "same_group")


def keep_data(
    project: Project,
    training: Dataset,
    validation: Dataset,
    *,
    source: str | Path,
    report: Report,
    repairs: Sequence[Repair] = (),
    kind: Literal["dataset", "pairs", "prompts"] = "dataset",
    rehearsal: Mapping[str, JSON] | None = None,
) -> Entry:
    """Save the two files and every change behind them, and write down which bytes they are.

    ``rehearsal`` says how much of the training file is rehearsal, as its ``facts`` do; the record adds
    which lines. ``report`` is about the task's own examples.

    They lie in a folder of their own, named by their content, so that what a later run is trained on never
    takes the place of what an earlier one was. The changes hold what was replaced, personal data too;
    they stay in the project's folder. ``kind`` is what the record calls the data: those of 04_launch, or
    the pairs or prompts of a further method, which must not take their place.
    """
    both = hashlib.sha256(f"{training.sha256} {validation.sha256}".encode()).hexdigest()
    folder = f"data/{both[:12]}"
    facts: dict[str, JSON] = {"source": str(source)}
    for role, dataset in (("training", training), ("validation", validation)):
        file = f"{folder}/{role}.jsonl"
        project.save(file, dataset.to_jsonl())
        project.save(f"{folder}/{role}-{_ORIGINS}", json.dumps([example.origin for example in dataset]))
        facts |= {f"{role}_file": file, f"{role}_sha256": dataset.sha256, f"{role}_examples": len(dataset)}
    for number, repair in enumerate(repairs, 1):
        project.save(f"{folder}/repair-{number}.jsonl", changes_to_jsonl(repair.changes))
    if rehearsal and rehearsal.get("rows"):
        lines = [number for number, row in enumerate(training, 1) if "rehearsal" in row.metadata]
        facts["rehearsal"] = {**rehearsal, "lines": lines}
    made = [repair.record for repair in repairs]
    findings = {
        rule: sum(len(g) for g in report.groups if g.finding.rule == rule) for rule in report.explained
    }
    evidence = data_evidence(report)
    return project.record(
        kind, **facts, repairs=made, problems=report.counts, findings=findings, evidence=evidence
    )


_ORIGINS = "origins.json"  # beside the data: the line of the user's own file that each row came from


def kept_data(project: Project, role: Literal["training", "validation"] = "training") -> Dataset:
    """What 03_build_data kept, each example with the line of your own file that it came from.

    A project of an earlier version did not keep those: its origins are the lines of the kept file.
    """
    file = project.path / str(project.need("dataset", "03_build_data").facts[f"{role}_file"])
    kept, origins = read(file), file.with_name(f"{role}-{_ORIGINS}")
    if not origins.is_file():
        return kept
    named = zip(kept, json.loads(origins.read_bytes()), strict=True)
    return replace(kept, examples=tuple(replace(example, origin=origin) for example, origin in named))


def data_evidence(report: Report) -> Mapping[str, JSON]:
    """What a check of the data found for the question whether to fine-tune: fields of a ``Situation``.

    Lines that nobody can read count among the examples, and among those that are refused.
    """
    contradicting = {p.origin for p in report.of("contradiction") if p.line is not None}
    leaked = {problem.origin for problem in report.errors if problem.rule in _LEAKS}
    of_lines = [p for p in report.errors if p.line is not None]
    refused = {p.origin for p in of_lines if p.rule not in (*_LEAKS, "contradiction")}
    unread = {p.origin for p in of_lines if p.rule in ("json", "object", "long_line")}
    return {
        method(report.method).evidence: report.examples + len(unread),
        "contradictions": len(contradicting) / max(1, report.examples),
        "leaks": len(leaked),
        "format_errors": len(refused),
    }


# The service's refusals, with what is mostly behind them (catalog.service_errors).


@contextmanager
def hints(client: "OpenAI", *, training_type: str | None = None) -> Iterator[None]:
    """Let the client's errors through as they are, with a note where Azure's words mislead."""
    try:
        yield
    except openai.APIStatusError as error:
        azure = provider_of(client).azure
        said = f"{error.status_code} {error.code}: {error.message}"
        note = hint(said, training_type=training_type) if azure else None
        if note:
            error.add_note(note)
        raise


_CAME_TO_NOTHING = ("failed", "cancelled")


def start_or_find(
    client: "OpenAI", spec: JobSpec, *, project: "Project | None" = None, estimated_usd: float | None = None
) -> "FineTuningJob":
    """Ask for the job, unless one of the same content is there: then give that one.

    Of all kernels on this machine one at a time does this for the same content, whatever its project.
    """
    service = provider_of(client)
    spec = spec.at(service)
    with jsonl_log.locked(home() / "launches" / f"{spec.content[:16]}.lock", "the same job"):
        ancestors = _ancestors(client, spec, project) if project else {}  # before anything is paid for
        job = known_job(client, spec, project=project) or _send(client, spec)
        new = {"job_id": job.id, "content": spec.content}
        if project and not any(new.items() <= entry.facts.items() for entry in project.entries("job")):
            endpoint = client.base_url.netloc.decode()
            estimated = {} if estimated_usd is None else {"estimated_usd": estimated_usd}
            project.record(
                "job", **new, endpoint=endpoint, **spec.facts(service.name), **estimated, **ancestors
            )
    return job


def _ancestors(client: "OpenAI", spec: JobSpec, project: Project) -> Mapping[str, JSON]:
    """How the model that the job starts from was made, to be on record whatever the service forgets."""
    if not is_tuned(spec.model):
        return {}
    return {"ancestors": [step.facts for step in lineage(project, client, model=spec.model).steps]}


def known_job(client: "OpenAI", spec: JobSpec, *, project: "Project | None" = None) -> "FineTuningJob | None":
    """Find the job of this content that the record or the service knows and that came to something."""
    recorded = _recorded_job(client, project, spec.content) if project else None
    return recorded or find_job(client, spec.content)


def find_job(client: "OpenAI", content: str) -> "FineTuningJob | None":
    """Find the newest job on the service with this content that did not fail and was not cancelled."""
    for job in client.fine_tuning.jobs.list(limit=100):
        if (job.metadata or {}).get(METADATA_KEY) == content and job.status not in _CAME_TO_NOTHING:
            return job
    return None


def _recorded_job(client: "OpenAI", project: "Project", content: str) -> "FineTuningJob | None":
    """The newest job on record with this content that this service has and that did not come to nothing."""
    here = (content, provider_of(client).name)
    for entry in reversed(project.entries("job")):
        if (entry.facts.get("content"), entry.facts.get("provider")) != here:
            continue
        try:
            job = client.fine_tuning.jobs.retrieve(str(entry.facts["job_id"]))
        except openai.NotFoundError:
            continue
        if job.status not in _CAME_TO_NOTHING:
            return job
    return None


def uploaded(files: "Iterable[FileObject]", name: str, size: int) -> "FileObject | None":
    """Of these files, the one that is called so, has so many bytes and can be used."""
    return next((f for f in files if (f.filename, f.bytes, f.status) == (name, size, "processed")), None)


def _send(client: "OpenAI", spec: JobSpec) -> "FineTuningJob":
    """Upload the data and ask for the job; the body is the very one that a preflight shows."""
    from openai.types.fine_tuning import FineTuningJob

    training_file = _upload(client, spec.training, "train").id
    validation_file = _upload(client, spec.validation, "validation").id if spec.validation else None
    body = spec.body(training_file, validation_file)
    with hints(client, training_type=spec.training_type):
        return _once(
            client,
            lambda once: once.post("/fine_tuning/jobs", body=body, cast_to=FineTuningJob),
            lambda: find_job(client, spec.content),
        )


_WAITS = (0.5, 1.0, 2.0)  # seconds before the next try


def _once(client: "OpenAI", send: "Callable[[OpenAI], _T]", there: Callable[[], _T | None]) -> _T:
    """Send what must not arrive twice: before each further try look whether the last has arrived.

    The client's own retries do not look: a try may have arrived although its answer did not.
    """
    once = client.with_options(max_retries=0)
    for wait in _WAITS:
        try:
            return send(once)
        except (openai.APIConnectionError, openai.InternalServerError):
            time.sleep(wait)
            arrived = there()
            if arrived is not None:
                return arrived
    return send(once)


def _upload(client: "OpenAI", dataset: "Dataset", role: str) -> "FileObject":
    """Upload the data, unless a file of the same content is there; wait until it can be used."""
    content, name = file_content(dataset), file_name(dataset, role)
    file = uploaded(client.files.list(purpose="fine-tune"), name, len(content))
    if file is None:
        limits = provider_of(client).limits
        with hints(client):
            if limits.in_one_upload is not None and len(content) > limits.in_one_upload:
                part_bytes = limits.max_part_bytes or limits.in_one_upload
                file = upload_in_parts(client, content, name, part_bytes=part_bytes)
            else:
                file = _once(
                    client,
                    lambda once: once.files.create(file=(name, content), purpose="fine-tune"),
                    lambda: uploaded(client.files.list(purpose="fine-tune"), name, len(content)),
                )
    if file.status != "processed":
        file = client.files.wait_for_processing(file.id, poll_interval=1)
    if file.status != "processed":
        reason = file.status_details or "it gave no reason"
        raise DataError(f"The service cannot use {dataset.name} as a training file: {hinted(reason)}")
    return file


# A large file in parts. Azure takes one of more than 150 MB as a whole and fails the job late (Microsoft's
# fine-tuning skill, 2026-08-20); in parts a connection that breaks costs a part, and no more.

_MIME = "text/jsonl"  # as in OpenAI's own example of a training file in parts
_RETRIES = 5  # for each part: a network that loses one request in five then loses one part in 15,000
_DATED = "2025-04-01-preview"


def upload_in_parts(client: "OpenAI", content: bytes, name: str, *, part_bytes: int) -> "FileObject":
    """Upload a file in parts of so many bytes, and go on where an earlier call was cut off.

    Which parts have arrived is kept on disk until the file is whole, so after a kill none is sent again. An
    upload that the service has ended meanwhile (Azure's live two hours) is begun anew.
    """
    digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
    key = hashlib.sha256(f"{client.base_url} {name} {digest} {part_bytes}".encode()).hexdigest()[:16]
    kept = home() / "uploads" / f"{key}.jsonl"
    sending = _Sending(client.with_options(max_retries=_RETRIES), content, name, digest, part_bytes, kept)
    with jsonl_log.locked(kept.with_suffix(".whole"), f"the upload of {name}"):
        try:
            file = sending.all()
        except (openai.NotFoundError, openai.BadRequestError):
            if not kept.is_file():
                raise
            kept.unlink()  # its time was over: the service takes no more of that one
            file = sending.all()
        kept.unlink(missing_ok=True)
    return file


@dataclass(frozen=True)
class _Sending:
    """One file on its way in parts; ``kept`` holds the id of the upload, then those of its parts."""

    client: "OpenAI"
    content: bytes
    name: str
    md5: str
    part_bytes: int
    kept: Path

    def all(self) -> "FileObject":
        """Send what is missing, and put it together."""
        client, lines = self.client, list(jsonl_log.objects(self.kept))
        if lines:
            upload_id, sent = str(lines[0]["id"]), [str(line["id"]) for line in lines[1:]]
            client = (_dated(client) if lines[0]["dated"] else None) or client
        else:
            client, upload_id = self._begin()
            sent = []
        size, step = len(self.content), self.part_bytes
        with _bytes_bar(f"Uploading {self.name}", size, len(sent) * step) as bar:
            for start in range(len(sent) * step, size, step):
                part = self.content[start : start + step]
                sent.append(client.uploads.parts.create(upload_id, data=part).id)
                self._keep({"id": sent[-1]})
                bar.update(len(part))
        return self._complete(client, upload_id, sent)

    def _begin(self) -> tuple["OpenAI", str]:
        """Announce the file; where v1 knows no uploads, by the dated API."""
        try:
            return self._announce(self.client, dated=False)
        except openai.NotFoundError as error:
            dated = _dated(self.client)
            if dated is None:
                size = in_words(provider_of(self.client).limits.in_one_upload or self.part_bytes)
                error.add_note(
                    "Hint: this address takes no file in parts; connect to the resource's own address, or "
                    f"make the file smaller than {size}."
                )
                raise
            return self._announce(dated, dated=True)

    def _announce(self, client: "OpenAI", *, dated: bool) -> tuple["OpenAI", str]:
        begun = client.uploads.create(
            bytes=len(self.content), filename=self.name, mime_type=_MIME, purpose="fine-tune"
        )
        self._keep({"id": begun.id, "dated": dated})
        return client, begun.id

    def _complete(self, client: "OpenAI", upload_id: str, sent: Sequence[str]) -> "FileObject":
        """Put the parts together; where the answer was lost on its way, the file is there all the same."""
        try:
            file = client.uploads.complete(upload_id, part_ids=list(sent), md5=self.md5).file
        except openai.APIError:
            file = self._there()
            if file is None:
                raise
        file = file or self._there()
        if file is None:
            raise DataError(f"The service has put {self.name} together and names no file; launch it again.")
        return file

    def _there(self) -> "FileObject | None":
        return uploaded(self.client.files.list(purpose="fine-tune"), self.name, len(self.content))

    def _keep(self, line: Mapping[str, JSON]) -> None:
        jsonl_log.append(self.kept, json.dumps(line).encode())


def _dated(client: "OpenAI") -> "OpenAI | None":
    """The same resource by Azure's dated API: a project's v1 was seen to know no uploads. Else ``None``."""
    url = client.base_url
    if not (provider_of(client).azure and "/v1" in url.path):
        return None
    host = url.host.replace(".services.ai.azure.com", ".openai.azure.com")  # where the dated API is
    before = re.split(r"/api/projects/|/openai/", url.path, maxsplit=1)[0]
    signed_in = getattr(client, "_api_key_provider", None) is not None  # then its token is a bearer's
    return client.with_options(
        base_url=url.copy_with(host=host, path=f"{before}/openai/"),
        default_query={"api-version": _DATED},
        default_headers={} if signed_in else {"api-key": client.api_key},
    )


def _bytes_bar(what: str, total: int, done: int) -> "tqdm[NoReturn]":
    """A progress bar of bytes, if it takes longer than two seconds; without a browser a line now and then."""
    from tqdm.auto import tqdm as widget
    from tqdm.std import tqdm as text

    kind, every = (text, 5) if setting("WORKBENCH_HEADLESS") == "1" else (widget, 0.1)
    bar: tqdm[NoReturn] = kind(
        desc=what, total=total, initial=done, unit="B", unit_scale=True, delay=2, mininterval=every
    )
    return bar


# A checkpoint for another resource: a preview of Azure's.


def copy_checkpoint(
    client: "OpenAI", job: "FineTuningJob | str", checkpoint: str, *, destination: str, region: str
) -> object:
    """Ask Azure to copy a checkpoint to another resource; gives its answer, whose form is not documented.

    ``checkpoint``: its id (``ftchkpt-…``). ``destination``: the resource as Azure's control plane names it,
    ``/subscriptions/…/accounts/NAME``, in the same tenant. It must have run a fine-tuning job before and
    have public network access, and a user-assigned identity with the role Azure AI User on it must be
    attached to the source. The copy keeps its name and stands in no list (Microsoft Learn, customize a model
    with fine-tuning, 2026-10-05).

    A local service checks the request and refuses it with 501: it is a single resource.
    """
    where = provider_of(client)
    if not (where.azure or where.runs_here):
        raise SetupError(f"{where.name} copies no checkpoints to other resources; only Azure does.")
    resource = (
        "/subscriptions/[^/]+/resourceGroups/[^/]+/providers/Microsoft.CognitiveServices/accounts/[^/]+"
    )
    if not re.fullmatch(resource, destination, re.IGNORECASE):
        raise DataError(
            f"'{destination}' is no resource: give its id as the Azure portal shows it, "
            "/subscriptions/…/resourceGroups/…/providers/Microsoft.CognitiveServices/accounts/NAME."
        )
    job_id = job if isinstance(job, str) else job.id
    # No retry: the first try may have arrived although its answer did not.
    with hints(client):
        return client.with_options(max_retries=0).post(
            f"/fine_tuning/jobs/{job_id}/checkpoints/{checkpoint}/copy",
            body={"destinationResourceId": destination, "region": region},
            options={"headers": {"aoai-copy-ft-checkpoints": "preview"}},
            cast_to=object,
        )
