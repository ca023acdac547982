"""What a provider takes stands in one table, with sources, and holds for client and local service alike."""

from dataclasses import replace
from pathlib import Path

import openai
import pytest
from idle_service import KEY, client_of, idle_service
from job_specs import spec, start

from workbench.catalog.limits import LIMITS, Limits, in_words
from workbench.connect import connect
from workbench.dataset.check.check import check
from workbench.dataset.dataset import Dataset, Example
from workbench.errors import SetupError
from workbench.evaluation.graders.sandbox import load_problem
from workbench.local.emulation import Emulation
from workbench.training.preflight import Preflight, preflight


def dataset(size: int) -> Dataset:
    rows = (
        ({"role": "user", "content": f"How many {n}?"}, {"role": "assistant", "content": f"{n}."})
        for n in range(size)
    )
    return Dataset("sums", tuple(Example(row, f"sums.csv:{n}") for n, row in enumerate(rows, 2)))


def errors(plan: Preflight) -> set[str]:
    return {f"{error.rule}: {error.message}; {error.fix}" for error in plan.errors}


@pytest.fixture
def strict(monkeypatch: pytest.MonkeyPatch) -> None:
    """An Azure that takes less of everything than today's."""
    less = replace(
        LIMITS["azure"],
        min_examples=20, max_suffix=5, max_seed=9, max_queued=1, max_files=2, checkpoints_kept=1,
        max_file_bytes=3_000, max_part_bytes=100, max_upload_bytes=5_000, min_expiry=60, max_expiry=120,
        max_grader_bytes=10, training_types=("spot",), max_deployments=1,
    )  # fmt: skip
    monkeypatch.setitem(LIMITS, "azure", less)


@pytest.mark.parametrize("provider", LIMITS)
def test_every_number_has_its_source(provider):
    limits = LIMITS[provider]
    assert limits.numbers.keys() - limits.sources.keys() == set()
    assert limits.sources.keys() <= Limits.__dataclass_fields__.keys()
    for page in limits.sources.values():
        assert page.title
        assert page.url.startswith(("https://", "workbench/"))


def test_the_numbers_are_those_of_the_documents():
    azure, platform = LIMITS["azure"], LIMITS["openai"]
    assert (azure.min_examples, azure.max_seed, azure.max_suffix, azure.checkpoints_kept) == (
        10,
        2147483647,
        40,
        3,
    )
    assert (azure.max_queued, azure.max_running, azure.max_running_developer, azure.max_jobs) == (
        20,
        3,
        5,
        100,
    )
    assert (azure.max_file_bytes, azure.max_all_files_bytes) == (536870912, 1073741824)
    assert (azure.min_expiry, azure.max_expiry) == (1209600, 2592000)
    assert (platform.max_suffix, platform.min_expiry, platform.max_queued) == (64, 3600, None)


def test_of_what_nobody_documents_nothing_is_refused():
    assert Limits().numbers == {}
    assert Limits().suffix.fullmatch("a" * 500)
    assert Limits().training_type("globalStandard") is None


@pytest.mark.parametrize(
    ("size", "words"),
    [(512 * 1024**2, "512 MB"), (1024**3, "1 GB"), (8 * 1024**3, "8 GB"), (1536 * 1024**2, "1,536 MB")],
)
def test_sizes_are_written_as_in_the_documents(size, words):
    assert in_words(size) == words


def test_another_limit_changes_the_check_and_the_sandbox(strict):
    assert [p.message for p in check(dataset(19)).of("too_few")] == [
        "19 examples, and a job needs at least 20"
    ]
    assert load_problem("def grade(sample, item): return 1") == "it has 33 bytes; at most 10 run"


def test_another_limit_changes_what_the_client_sends(strict, home: Path, monkeypatch):
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", KEY)
    with idle_service(home / "service") as http:
        client = connect("azure", endpoint="http://gateway.example.com").with_options(http_client=http)
        plan = preflight(client, spec(dataset(19), model="gpt-4.1", suffix="toolong", seed=10, n_epochs=2))
        assert {
            "too_few: 19 examples, and a job needs at least 20; add examples",
            "suffix: 'toolong' cannot be a suffix; use up to 5 letters (a-z, A-Z), digits, '_' and '-'",
            "range: seed is 10; give 0 to 9",
            "training_type: there is no training type 'globalStandard'; choose one of spot",
        } <= errors(plan)
        (kept,) = [finding for finding in plan.findings if finding.rule == "checkpoints"]
        assert kept.message == "only the last 1 of 2 epochs are kept, and an earlier one may be best"
        long = preflight(client, spec(dataset(35), model="gpt-4.1"))
        (parts,) = [finding for finding in long.findings if finding.rule == "size"]
        assert (parts.level, parts.message[:40]) == ("info", "the file has 0 MB, so it is uploaded in ")
        longer = preflight(client, spec(dataset(70), model="gpt-4.1"))
        assert any(
            error.endswith("is the most in parts; make several files and jobs of it")
            for error in errors(longer)
        )
        with pytest.raises(SetupError, match="needs at least 20"):
            start(client, dataset(19), model="gpt-4.1")


def test_another_limit_changes_what_the_service_takes(strict, home: Path):
    with idle_service(home / "service", Emulation(quota="azure")) as http:
        client = client_of(http)
        content = dataset(20).to_jsonl()
        file = client.files.create(file=("train.jsonl", content), purpose="fine-tune")
        asked = {"model": "nano", "training_file": file.id}
        for wrong, message in (
            ({"suffix": "toolong"}, "1 to 5 of"),
            ({"seed": 10}, "less than or equal to 9"),
            ({"extra_body": {"trainingType": "globalStandard"}}, "spot"),
        ):
            with pytest.raises(openai.BadRequestError, match=message):
                client.fine_tuning.jobs.create(**asked, **wrong)
        assert client.fine_tuning.jobs.create(**asked).seed in range(10)
        with pytest.raises(openai.RateLimitError, match="1 jobs are queued already"):
            client.fine_tuning.jobs.create(**asked)
        with pytest.raises(openai.APIStatusError, match="larger than 3,000 bytes"):
            client.files.create(file=("train.jsonl", content * 2), purpose="fine-tune")
        expiry = {"anchor": "created_at", "seconds": 3600}
        with pytest.raises(openai.BadRequestError, match="from 60 to 120"):
            client.files.create(file=("train.jsonl", content), purpose="fine-tune", expires_after=expiry)
        announced = {"filename": "x", "purpose": "fine-tune", "mime_type": "text/jsonl"}
        with pytest.raises(openai.BadRequestError, match="at most 5,000"):
            client.uploads.create(bytes=5_001, **announced)
        upload = client.uploads.create(bytes=500, **announced)
        with pytest.raises(openai.APIStatusError, match="larger than 100 bytes"):
            client.uploads.parts.create(upload.id, data=b"x" * 101)
        client.files.create(file=("more.jsonl", content), purpose="fine-tune")
        with pytest.raises(openai.RateLimitError, match="2 files for fine-tuning"):
            client.files.create(file=("third.jsonl", content), purpose="fine-tune")
