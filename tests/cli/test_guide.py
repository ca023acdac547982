"""``guide``: what the page promises to a program is what the commands do."""

import json
from pathlib import Path

import pytest
import typer.main
from typer.testing import CliRunner, Result

from workbench.__main__ import app
from workbench.cli.guide import CONTRACTS, commands

ROWS = "".join(
    json.dumps(
        {"messages": [{"role": "user", "content": f"{n} + {n}?"}, {"role": "assistant", "content": a}]}
    )
    + "\n"
    for n, a in enumerate(("zero", "two", "four", "six", "eight", "ten", "twelve", "many", "more", "most"))
)
FILES = {
    "train.csv": "question,answer\na,b\nc,d\n",
    "test.csv": "question,answer\ne,f\n",
    "rows.jsonl": ROWS,
    "situation.json": '{"motive": "quality"}',
    "case.json": '{"requests_per_month": 1000, "base": {"name": "long prompt", "input_tokens": 900, '
    '"output_tokens": 20, "input_price": 2, "output_price": 8}, "ways": []}',
    "runs.csv": "examples,score,items\n100,0.5,200\n200,0.6,200\n400,0.7,200\n",
    "curve.csv": "step,train_loss,valid_loss\n1,2.0,2.0\n2,1.5,1.8\n",
    "base.jsonl": '{"id": "a", "score": 1}\n{"id": "b", "score": 0}\n',
    "tuned.jsonl": '{"id": "a", "score": 1}\n{"id": "b", "score": 1}\n',
}
WITHOUT_A_SERVICE = {
    "new": ("new", "mine", "--train", "train.csv", "--test", "test.csv"),
    "projects": ("projects",),
    "report": ("report", "--project", "gql"),
    "decide": ("decide", "situation.json"),
    "forecast": ("forecast", "runs.csv"),
    "models": ("models", "nano"),
    "check": ("check", "rows.jsonl", "--only", "format"),
    "build": ("build", "train.csv"),
    "fix": ("fix", "rows.jsonl"),
    "jobs lineage": ("jobs", "lineage"),
    "diagnose": ("diagnose", "curve.csv"),
    "compare": ("compare", "base.jsonl", "tuned.jsonl"),
    "service status": ("service", "status"),
}


@pytest.fixture
def files(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, content in FILES.items():
        (tmp_path / name).write_text(content)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def call(*words: str) -> Result:
    return CliRunner().invoke(app, words, catch_exceptions=False)


ALL = dict(commands(typer.main.get_command(app)))


@pytest.mark.parametrize("name", WITHOUT_A_SERVICE)
def test_the_json_has_the_names_that_the_page_promises(files: Path, name: str):
    done = call(*WITHOUT_A_SERVICE[name], "--json")
    answer = json.loads(done.stdout)
    assert set(CONTRACTS[name].answers) - answer.keys() == set()
    assert done.exit_code in CONTRACTS[name].codes


def test_every_command_has_a_contract_and_names_its_json():
    assert set(ALL) - set(CONTRACTS) == set()
    with_json = {name for name, each in ALL.items() if any("--json" in option.opts for option in each.params)}
    assert {name for name in ALL if CONTRACTS[name].answers} == with_json


def test_the_page_describes_every_command_with_all_its_options():
    printed = call("guide").stdout
    described = {part.split("\n")[0]: part for part in printed.split("\n### ")[1:]}
    for name, command in ALL.items():
        [part] = [text for head, text in described.items() if f"{head} ".startswith(f"{name} ")]
        for option in command.params:
            named = (
                str(option.name).upper()
                if option.param_type_name == "argument"
                else max(option.opts, key=len)
            )
            assert named in part or named in ("--help",), (name, named)


def test_the_page_has_the_rules_about_money():
    printed = call("guide").stdout
    assert "warn once" in printed
    assert "Honour a cap" in printed
    rehearsal = next(line for line in printed.splitlines() if "free)" in line)
    assert "-p PROVIDER=local " in rehearsal  # else a project's own provider would be billed
    assert "Never delete." in printed
    spend = [name for name, contract in CONTRACTS.items() if contract.costs]
    assert spend == ["run", "build", "jobs resume", "evaluate", "ask", "monitor", "replay"]
    removing = [name for name, each in ALL.items() if " remove " in f" {each.help} ".replace("\n", " ")]
    assert removing == ["cleanup"]
    assert "`cleanup` alone removes something" in printed


@pytest.mark.parametrize(
    "words",
    [
        ("check", "none.jsonl"),
        ("build", "none.csv"),
        ("fix", "train.csv"),
        ("decide", "none.json"),
        ("compare", "none.jsonl", "tuned.jsonl"),
        ("projects", "nobody"),
        ("run", "--project", "nobody"),
        ("lab", "none.ipynb"),
        ("evaluate", "test.csv", "--model", "nano", "--grader", "exakt"),
    ],
    ids=" ".join,
)
def test_what_cannot_be_done_is_exit_code_2_and_one_sentence(files: Path, words: tuple[str, ...]):
    done = call(*words)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.strip().count("\n") == 0
