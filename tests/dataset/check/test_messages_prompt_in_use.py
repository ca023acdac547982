"""A training file beside the prompt in use: same instruction, same tools, same form of the question."""

import json

import pytest
from typer.testing import CliRunner

from workbench.__main__ import app
from workbench.dataset.check.check import check
from workbench.dataset.dataset import Dataset, Example
from workbench.errors import DataError

INSTRUCTION = "Answer from the passages only."
FORM = "Passages:\n\n{passages}\n\nQuestion: {questiion}"
WEATHER = {"name": "weather", "description": "Now.", "parameters": {"type": "object", "properties": {}}}
TIME = {"name": "time"}
IN_USE = {
    "messages": [{"role": "system", "content": INSTRUCTION}, {"role": "user", "content": FORM}],
    "tools": [{"type": "function", "function": WEATHER}],
}
ASKED = "Passages:\n\nOpen from 9 to 5.\n\nQuestion: When do you open?"


def example(line: int, asked: str = ASKED, system: str | None = INSTRUCTION, *functions: dict[str, object]):
    first = [] if system is None else [{"role": "system", "content": system}]
    said = ({"role": "user", "content": asked}, {"role": "assistant", "content": f"At {line}."})
    tools = [{"type": "function", "function": function} for function in functions or (WEATHER,)]
    return Example((*first, *said), f"faq.csv:{line}", {"tools": tools})


def skew(*examples: Example, prompt: dict[str, object] = IN_USE) -> list[tuple[str, str, str, str]]:
    report = check(Dataset("faq.csv", examples), method=examples[0].method, prompt=prompt, only=["skew"])
    return [(p.level, p.origin, p.path, p.message) for p in report.problems]


def test_rows_that_ask_as_the_prompt_in_use_have_no_finding():
    spaced = ASKED.replace("\n\n", "\n")
    assert skew(example(1), example(2, spaced), example(3, "Passages: Question: Why?")) == []


def test_another_instruction_and_none_are_named_with_their_lines():
    rows = example(1), example(2, system="Be brief."), example(3, system=None), example(4, system="Be kind.")
    assert skew(*rows) == [
        ("warning", "faq.csv:2", "messages[0].content", "the instruction is not that of the prompt in use"),
        ("warning", "faq.csv:4", "messages[0].content", "the instruction is not that of the prompt in use"),
        ("warning", "faq.csv:3", "messages", "there is no instruction, and the prompt in use has one"),
    ]


def test_an_instruction_where_the_prompt_in_use_has_none():
    bare = {**IN_USE, "messages": IN_USE["messages"][1:]}
    [(_, origin, _, message)] = skew(example(1), example(2, system=None), prompt=bare)
    assert (origin, message) == (
        "faq.csv:1",
        "there is an instruction, and the prompt in use has none",
    )


def test_a_place_in_the_instruction_takes_any_text():
    dated = [{"role": "system", "content": "Today is {date}. Be brief."}, IN_USE["messages"][1]]
    rows = example(1, system="Today is 3 May. Be brief."), example(2, system="Today is 3 May.")
    assert [origin for _, origin, *_ in skew(*rows, prompt={**IN_USE, "messages": dated})] == ["faq.csv:2"]


def test_a_question_without_the_form_of_retrieval():
    [found] = skew(example(1), example(2, "When do you open?"))
    message = "the question does not have the form that it has in the prompt in use"
    assert found == ("warning", "faq.csv:2", "messages[1].content", message)


def test_a_question_that_was_logged_is_no_form():
    logged = {**IN_USE, "messages": [IN_USE["messages"][0], {"role": "user", "content": "And on Sunday?"}]}
    assert skew(example(1), example(2, "When do you open?"), prompt=logged) == []


@pytest.mark.parametrize(
    ("functions", "differences"),
    [
        ((TIME,), "weather is missing, time is not in use"),
        ((WEATHER, TIME), "time is not in use"),
        (({**WEATHER, "description": "Then."},), "weather is declared otherwise"),
    ],
)
def test_other_tools_are_named(functions, differences):
    [(level, _, path, message)] = skew(example(1, ASKED, INSTRUCTION, *functions))
    assert (level, path, message) == ("warning", "tools", f"the tools are not those in use: {differences}")


def test_a_pair_has_its_tools_in_its_input():
    prompt = (IN_USE["messages"][0], {"role": "user", "content": ASKED})
    outputs = {
        f"{which}preferred_output": [{"role": "assistant", "content": which}] for which in ("", "non_")
    }
    assert skew(Example(prompt, "faq.csv:1", {"tools": IN_USE["tools"], **outputs})) == []


def test_without_a_prompt_nothing_is_compared():
    report = check(Dataset("faq.csv", (example(1, "Why?", None),)), only=["skew"])
    assert report.problems == ()


def test_every_finding_has_a_way_out():
    report = check(Dataset("faq.csv", (example(1, "Why?", None),)), prompt=IN_USE, only=["skew"])
    assert [p.fix for p in report.problems] == [
        "train with the prompt in use, or use the one that was trained",
        "write it as 'Passages:\\n\\n{passages}\\n\\nQuestion: {questi'…",
    ]


def test_a_prompt_without_a_question_is_refused_in_words():
    with pytest.raises(DataError, match="The prompt in use has no message of the user; give"):
        check(Dataset("faq.csv", (example(1),)), prompt={"system": "Be brief."})


def test_the_shell_takes_the_request_as_a_file(tmp_path):
    data, prompt = tmp_path / "faq.jsonl", tmp_path / "request.json"
    data.write_bytes(Dataset("faq", (example(1), example(2, system="Be brief."))).to_jsonl())
    prompt.write_text(json.dumps(IN_USE), encoding="utf-8")
    said = CliRunner().invoke(app, ["check", str(data), "--prompt", str(prompt), "--only", "skew", "--json"])
    problems = json.loads(said.output)["problems"]
    assert [(p["rule"], p["line"]) for p in problems] == [("skew", 2)]
