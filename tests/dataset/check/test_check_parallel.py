"""The same check on several workers: identical findings, whoever looks and however the rows are cut."""

import json
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context

import pytest

from workbench.dataset.check import sources
from workbench.dataset.check.check import ThisProcess, check
from workbench.dataset.read import read

QUESTIONS = ("Where is my parcel number {n}?", "How do I return order {n}?", "Can I pay invoice {n} later?")


def chat(n):
    """One line of every kind: sound, repeated, contradictory, broken, with faults of each sort."""
    question = QUESTIONS[n % 3].format(n=n // 7)
    page = n % 3 + 5 * (n % 13 == 0)
    answer = f"Please look at page {page} of your account; the number is {n // 7}, and thank you for asking."
    turns = [
        {"role": "system", "content": "You are kind." if n % 11 else "You are brief."},
        {"role": "user", "content": question},
        {"role": "assistant", "content": answer},
    ]
    line = json.dumps({"messages": turns}, ensure_ascii=False)
    faults = {
        17: line[:-1],
        23: line.replace("assistant", "bot"),
        29: line.replace('"user"', '"user", "role": "user"'),
        31: line.replace("Please", "I'm sorry, but I cannot help with that. Please"),
        37: line.replace("page", "mail to anna.schmidt@contoso.com, page"),
        41: line.replace("system", "usr"),
        43: "",
    }
    return next((fault for every, fault in faults.items() if n % every == 0), line)


@pytest.fixture(scope="module")
def training(tmp_path_factory):
    path = tmp_path_factory.mktemp("distributed") / "training.jsonl"
    path.write_text("".join(chat(n) + "\n" for n in range(1, 601)), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def test_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("distributed") / "test.jsonl"
    path.write_text("".join(chat(n) + "\n" for n in range(590, 640)), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def expected(training, test_file):
    report = "".join(check(training, test=test_file, executor=ThisProcess()).to_json())
    rules = {problem["rule"] for problem in json.loads(report)["problems"]}
    assert {"json", "role", "duplicate_key", "duplicate", "contradiction", "overlap", "pii"} <= rules
    return report


@pytest.mark.parametrize("piece", [1, 999, 20_000])
def test_the_report_is_the_same_however_a_file_is_cut(training, test_file, expected, piece, monkeypatch):
    monkeypatch.setattr(sources, "PIECE", piece)
    report = check(training, test=test_file, executor=ThisProcess())
    assert "".join(report.to_json()) == expected


def test_the_report_is_the_same_on_threads(training, test_file, expected, monkeypatch):
    monkeypatch.setattr(sources, "PIECE", 10_000)
    with ThreadPoolExecutor(3) as threads:
        report = check(training, test=test_file, executor=threads)
    assert "".join(report.to_json()) == expected


def test_the_report_is_the_same_on_two_processes(training, test_file, expected, monkeypatch):
    monkeypatch.setattr(sources, "PIECE", 50_000)
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as processes:
        report = check(training, test=test_file, executor=processes)
    assert "".join(report.to_json()) == expected


def test_the_report_is_the_same_on_two_dask_workers(training, test_file, expected, monkeypatch):
    distributed = pytest.importorskip("distributed")
    monkeypatch.setattr(sources, "PIECE", 50_000)
    cluster = distributed.LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        processes=True,
        host="127.0.0.1",
        dashboard_address=None,
    )
    with cluster, distributed.Client(cluster) as client:
        report = check(training, test=test_file, executor=client.get_executor())
    assert "".join(report.to_json()) == expected


@pytest.mark.parametrize("examples", [1, 100])
def test_the_report_on_a_dataset_is_the_same_however_it_is_cut(training, examples, monkeypatch, tmp_path):
    sound = tmp_path / "sound.jsonl"
    lines = training.read_text(encoding="utf-8").splitlines()
    sound.write_text(
        "\n".join(line for n, line in enumerate(lines, 1) if n % 17 and n % 41), encoding="utf-8"
    )
    data = read(sound)
    whole = "".join(check(data, executor=ThisProcess()).to_json())
    monkeypatch.setattr(sources, "EXAMPLES", examples)
    assert "".join(check(data, executor=ThisProcess()).to_json()) == whole
