"""The journey on nano as on Azure: a managed identity signs in, the service is strict and refuses requests.

The notebooks talk through ``openai``, ``azure-identity`` and ``azure-mgmt-cognitiveservices`` as they are.
"""

import csv
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from identity_service import HEADER, identity_service
from notebook_road import Road, Walk

from workbench import deploy
from workbench.connect import connect
from workbench.local import process
from workbench.settings import ROOT

SMALL = ("-p", "MODEL", "nano", "-p", "N_EPOCHS", "1", "-p", "TEST_ITEMS", "12", "-p", "PROVIDER", "azure")


@pytest.fixture(scope="module")
def road(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Road]:
    """A strict service whose time runs ten times as fast; the base model is deployed by its own name."""
    made = Road(tmp_path_factory.mktemp("road") / "home")
    made.home.mkdir()
    command = [sys.executable, "-m", "workbench.local", "--home", str(made.home), "--strict", "--clock", "10"]
    command += ["--fault", "rate-limit=5"]
    service = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert service.stdout is not None
    assert service.stdout.readline().startswith("The local service listens")
    with (ROOT / "data" / "probes" / "probes.csv").open(encoding="utf-8", newline="") as probes:
        header, *rows = csv.reader(probes)
    with (made.home.parent / "probes.csv").open("w", encoding="utf-8", newline="") as few:
        csv.writer(few).writerows([header, *rows[::40]])
    address = process.find(made.home)
    with pytest.MonkeyPatch.context() as patch, identity_service() as (identity, login):
        identity.key = address.key
        patch.setenv("AZURE_OPENAI_ENDPOINT", address.url)
        patch.setenv("AZURE_OPENAI_API_KEY", "")
        patch.setenv("IDENTITY_ENDPOINT", f"{login}/msi/token")
        patch.setenv("IDENTITY_HEADER", HEADER)
        patch.setenv("AZURE_TOKEN_CREDENTIALS", "ManagedIdentityCredential")
        client = connect("azure")
        base = deploy.plan_deployment(client, "nano", sku="GlobalStandard", name="nano")
        *_, ready = deploy.follow(client, deploy.deploy(client, base, agreed=True))
        assert ready.ready
        yield made
    made.end()
    service.wait(30)
    service.stdout.close()


@pytest.fixture(scope="module")
def walk(road: Road) -> Walk:
    probes = ("-p", "PROBES", str(road.home.parent / "probes.csv"))
    return road.ran("--no-gate", "--only", "00,01,02,03,04,05,06", *SMALL, *probes, "-p", "DEPLOY", "True")


@pytest.fixture(scope="module")
def deployed(walk: Walk, road: Road) -> Walk:
    asked = ("-p", "DEPLOY", "True", "-p", "OVERRIDE_REASON", "nano shows nothing", "-p", "NAME", "gql-live")
    return road.ran("--only", "07", *SMALL, *asked, "-p", "SKU", "GlobalStandard")


def text_of(walk: Walk, cell_id: str) -> str:
    """What a cell of 07 has printed."""
    executed = nbformat.read(Path(str(walk.summary["folder"])) / "07_deploy.ipynb", as_version=4)
    outputs = next(cell.outputs for cell in executed.cells if cell.id == cell_id)
    return "".join(output.text for output in outputs if output.output_type == "stream")


def test_06_deploys_the_model_to_be_judged_and_removes_it_in_the_end(walk: Walk, road: Road):
    assert walk.code == 0, walk.err
    entries = [entry.facts for entry in road.project.entries("deployment")]
    assert [(facts["event"], facts["sku"], facts["temporary"]) for facts in entries] == [
        ("asked", "DeveloperTier", True),
        ("ready", "DeveloperTier", True),
        ("removed", "DeveloperTier", False),
    ]
    judged = road.project.need("comparison", "06_evaluate").facts
    assert judged["tuned_model"] == entries[0]["model"]  # by its own name, not by its deployment's
    assert [one.name for one in deploy.deployments(connect("azure"))] == ["nano"]


def test_07_refuses_a_model_without_a_pass_and_a_price_that_nobody_agreed_to(walk: Walk, road: Road):
    refused = road.ran("--only", "07", *SMALL)
    assert refused.code == 1
    assert "set OVERRIDE_REASON to the reason why" in refused.err
    refused = road.ran("--only", "07", *SMALL, "-p", "OVERRIDE_REASON", "a trial", "-p", "SKU", "Standard")
    assert refused.code == 1
    assert "Nothing was deployed. Set DEPLOY = True to agree to the price" in refused.err


def test_07_deploys_and_the_deployment_answers_as_the_model_was_judged(deployed: Walk, road: Road):
    assert deployed.code == 0, deployed.err
    parity = road.project.need("parity", "07_deploy").facts
    assert (parity["name"], parity["items"], parity["holds"]) == ("gql-live", 12, True)
    assert parity["same"] >= 10
    assert (
        "12 answers are the same as when the model was judged"
        in deployed.shown("07_deploy", "parity-code")["text/html"]
    )
    assert road.project.need("override", "07_deploy").facts["reason"] == "nano shows nothing"
    assert "GlobalStandard" in deployed.shown("07_deploy", "plan-code")["text/html"]
    assert 'create(model="gql-live"' in text_of(deployed, "use-code")


def test_no_key_is_in_the_executed_notebooks_or_the_record(deployed: Walk, road: Road):
    key = process.find(road.home).key  # which the managed identity gives as its token
    kept = [path for path in road.project.path.rglob("*") if path.is_file()]
    assert len(kept) > 10
    assert [path for path in kept if key.encode() in path.read_bytes()] == []


def test_again_it_finds_the_deployment_and_removes_it_when_asked(deployed: Walk, road: Road):
    asked = ("-p", "OVERRIDE_REASON", "again", "-p", "NAME", "gql-live", "-p", "SKU", "GlobalStandard")
    again = road.ran("--only", "07", *SMALL, *asked, "-p", "REMOVE", "True")
    assert again.code == 0, again.err
    assert [e.facts["event"] for e in road.project.entries("deployment")][3:] == ["asked", "ready", "removed"]
    assert [one.name for one in deploy.deployments(connect("azure"))] == ["nano"]


def test_at_the_local_service_the_same_notebook_deploys_for_nothing(deployed: Walk, road: Road):
    local = road.ran("--only", "07", *SMALL[:-1], "local", "-p", "OVERRIDE_REASON", "here")
    assert local.code == 0, local.err
    assert "hours" in local.shown("07_deploy", "costs-code")["text/html"]
    assert "it answers" in local.shown("07_deploy", "deploy-code")["text/html"]
