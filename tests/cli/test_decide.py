"""``python -m workbench models``: the catalogue in a shell."""

import json

import jsonschema
import pytest
import typer
from typer.testing import CliRunner, Result

from workbench.cli import OneSentence, decide


@pytest.fixture(autouse=True)
def _alone(home):
    """No service was asked here."""


def call(*words: str) -> Result:
    app = typer.Typer(cls=OneSentence, pretty_exceptions_enable=False)
    app.callback()(lambda: None)
    decide.add_to(app)
    return CliRunner().invoke(app, ["models", *words], catch_exceptions=False)


def test_filters_are_options():
    done = call("--method", "dpo", "--on", "2027-04-01", "--region", "swedencentral", "--json")
    assert [each["name"] for each in json.loads(done.stdout)["models"]] == [
        "gpt-4.1",
        "gpt-4.1-mini",
        "gpt-4.1-nano",
    ]


def test_the_json_is_as_its_schema_says():
    schema = json.loads(call("--schema").stdout)
    jsonschema.validate(json.loads(call("--vision", "--json").stdout), schema)
    jsonschema.validate(json.loads(call("nano", "--json").stdout), schema)


def test_a_name_shows_its_card():
    lines = call("gpt-4.1-2025-04-14").stdout.splitlines()
    assert lines[:3] == ["gpt-4.1", "status: Deprecated, existing customers only", "version: 2025-04-14"]
    assert (
        "azure: training ends: 2027-04-14: Microsoft Learn, model retirement schedule (2026-10-05)" in lines
    )


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--on", "soon"), "--on is 'soon'; give a day like 2027-04-14.\n"),
        (("--method", "rlhf"), "There is no method 'rlhf'; choose sft, dpo, rft.\n"),
        (("--service", "aws"), "There is no provider 'aws'; choose local, azure or openai.\n"),
        (("--arm", "x.json"), "--arm goes with --refresh azure.\n"),
    ],
)
def test_what_cannot_be_is_one_sentence(words, sentence):
    done = call(*words)
    assert (done.exit_code, done.stderr) == (2, sentence)


def test_for_new_customers_less_is_left():
    done = call("--on", "2026-11-22", "--method", "dpo", "--new-customer", "--json")
    left = [model["name"] for model in json.loads(done.stdout)["models"]]
    assert left == ["SmolLM2-135M-Instruct", "nano"]


def test_a_price_list_that_does_not_answer_is_one_sentence(monkeypatch):
    monkeypatch.setenv("WORKBENCH_RETAIL_PRICES", "http://127.0.0.1:9/prices")
    done = call("--refresh-prices")
    assert done.exit_code == 2
    assert done.stderr.startswith("http://127.0.0.1:9/prices did not answer (")
    assert done.stderr.endswith("; the prices of 2026-08-11 stay in use.\n")


def test_this_machines_models_stand_first_and_retired_ones_only_when_they_are_asked_for():
    listed = call().stdout.splitlines()
    assert [line.split()[0] for line in listed[2:4]] == ["SmolLM2-135M-Instruct", "nano"]
    assert not [line for line in listed if "  retired  " in line]
    assert listed[-1].startswith("Left out: ")
    assert listed[-1].endswith(" retired; --retired lists them.")
    with_them = call("--retired").stdout.splitlines()
    first = next(place for place, line in enumerate(with_them) if "  retired  " in line)
    assert all("  retired  " in line or line.startswith("Also at") for line in with_them[first:])
    left_out = int(listed[-1].split()[2])
    assert int(with_them[0].split()[0]) - int(listed[0].split()[0]) == left_out > 20
    everything = json.loads(call("--json").stdout)["models"]
    assert len(everything) == int(with_them[0].split()[0])
