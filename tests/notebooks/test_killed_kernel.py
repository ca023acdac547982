"""04_launch in a kernel that is killed at random, in each of its cells: there is one job all the same."""

import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import start_new_kernel

from workbench.dataset.check.check import check
from workbench.dataset.read import read
from workbench.local import process
from workbench.project import open_project
from workbench.settings import ROOT
from workbench.training.jobs import keep_data

NOTEBOOK = ROOT / "notebooks" / "04_launch.ipynb"
CHANGED = {"PROJECT": "killed", "MODEL": "nano", "N_EPOCHS": 6}
LONGEST = 120.0  # seconds that one cell may take


def sources() -> list[str]:
    """The notebook's code cells, the parameters set as papermill would."""
    code = [cell.source for cell in nbformat.read(NOTEBOOK, as_version=4).cells if cell.cell_type == "code"]
    return [code[0] + "".join(f"\n{name} = {value!r}" for name, value in CHANGED.items()), *code[1:]]


def done(client: BlockingKernelClient, source: str) -> None:
    """Execute a cell to its end; one that fails fails the test with its own words."""
    reply = client.execute_interactive(
        source, timeout=LONGEST, store_history=False, output_hook=lambda message: None
    )
    assert reply["content"]["status"] == "ok", reply["content"]


def begun(client: BlockingKernelClient, source: str) -> None:
    """Send a cell and come back when the kernel has begun with it."""
    sent = client.execute(source)
    while True:
        message = client.get_iopub_msg(timeout=LONGEST)
        if message["parent_header"].get("msg_id") == sent and message["msg_type"] == "execute_input":
            return


@pytest.fixture
def service(tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[process.Record]:
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("WORKBENCH_MODELS", str(models))
    yield process.start(tmp_path / "home")
    process.stop(tmp_path / "home")


def test_a_kernel_killed_in_any_cell_of_the_launch_leaves_one_job_that_the_next_one_finds(
    service: process.Record,
):
    columns = {"question": "question", "answer": "query", "system": "Always return GQL."}
    pairs = read(ROOT / "data" / "gql" / "pairs.csv", **columns).take(40)
    split = pairs.split(held_out=0.25, seed=0)
    project = open_project(CHANGED["PROJECT"])
    keep_data(
        project,
        split.training,
        split.held_out,
        source="pairs.csv",
        report=check(split.training, method="sft"),
    )
    moments, cells = random.Random(0), sources()
    for victim in range(1, len(cells)):
        manager, client = start_new_kernel(kernel_name="python3", cwd=str(NOTEBOOK.parent))
        try:
            for cell in cells[:victim]:
                done(client, cell)
            begun(client, cells[victim])
            time.sleep(moments.random() * 0.5)
            manager.signal_kernel(signal.SIGKILL)
        finally:
            client.stop_channels()
            manager.shutdown_kernel(now=True)

    manager, client = start_new_kernel(kernel_name="python3", cwd=str(NOTEBOOK.parent))
    try:
        for cell in cells:
            done(client, cell)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)

    from openai import OpenAI

    with OpenAI(base_url=f"{service.url}/openai/v1/", api_key=service.key) as asked:
        jobs = list(asked.fine_tuning.jobs.list())
        files = [file.filename for file in asked.files.list() if file.purpose == "fine-tune"]
    assert [job.status for job in jobs] == ["succeeded"]
    assert {entry.facts["job_id"] for entry in project.entries("job")} == {jobs[0].id}
    assert len(files) == 2
