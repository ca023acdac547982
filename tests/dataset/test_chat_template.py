"""Tool calls, results, refusals and parts as each model reads them, the same in training and answering."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from model_families import CHATML, GEMMA, LLAMA_2, LLAMA_31, PHI_3, QWEN_3
from scheduler_service import TOOL_TEMPLATE
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from workbench.dataset.chat_template import as_text, marks_calls, prompt, tools_in, written
from workbench.dataset.dataset import Dataset, Example
from workbench.errors import DataError
from workbench.local.api.chat_request import CompletionRequest
from workbench.local.api.model_routes import Model
from workbench.local.chat_protocol import ToolCall
from workbench.local.inference.sampling import read_calls
from workbench.local.models.bases import build_nano
from workbench.local.models.model import encode, encode_dataset, encode_prompt
from workbench.settings import ROOT

Turn = dict[str, Any]

# As Llama 3.1 does: one call a turn, its arguments called parameters, and no word beside a call.
LLAMA_31_TOOLS = (
    "{{ bos_token }}{% if tools %}{{ '<|start_header_id|>system<|end_header_id|>\n\n' }}"
    "{% for tool in tools %}{{ tool | tojson(indent=4) + '\n' }}{% endfor %}{{ '<|eot_id|>' }}{% endif %}"
    "{% for m in messages %}{% if 'tool_calls' in m %}{% if m.tool_calls | length != 1 %}"
    "{{ raise_exception('This model only supports single tool-calls at once!') }}{% endif %}"
    "{% set call = m.tool_calls[0].function %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}"
    "{{ '{\"name\": \"' + call.name + '\", \"parameters\": ' + call.arguments | tojson + '}<|eot_id|>' }}"
    "{% elif m.role == 'tool' %}{{ '<|start_header_id|>ipython<|end_header_id|>\n\n' }}"
    "{{ m.content | tojson + '<|eot_id|>' }}{% else %}{{ '<|start_header_id|>' + m.role }}"
    "{{ '<|end_header_id|>\n\n' + m.content | trim + '<|eot_id|>' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
# As Llama 2 and Gemma do: user and assistant in turns, or nothing.
ALTERNATING = (
    "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}"
    "{% endif %}{% endfor %}"
)
SILENT = "{% for m in messages if m.role in ('user', 'assistant') %}"  # leaves out what it does not know
TEMPLATES = {
    "nano": None,
    "chatml": CHATML,
    "llama-2": LLAMA_2,
    "llama-3.1 without tools": LLAMA_31,
    "phi-3": PHI_3,
    "qwen-3 without tools": QWEN_3,
    "gemma": ALTERNATING + GEMMA,
    "silent": SILENT + CHATML.partition("%}")[2],
    "qwen": TOOL_TEMPLATE,
    "llama-3.1": LLAMA_31_TOOLS,
}
OWN = ("qwen", "llama-3.1")  # write tools themselves

WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather now.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
SYSTEM = {"role": "system", "content": "Be brief."}
ASK = {"role": "user", "content": "Rome?"}


def call(number: str, name: str, arguments: str) -> Turn:
    return {"id": number, "type": "function", "function": {"name": name, "arguments": arguments}}


ROME = {"role": "assistant", "tool_calls": [call("a", "weather", '{"city":"Rome"}')]}
SUN = {"role": "tool", "tool_call_id": "a", "content": "sun\n30 degrees"}
SAID = {"role": "assistant", "content": "It is sunny."}
BOTH = {
    "role": "assistant",
    "content": "I look.",
    "tool_calls": [call("a", "weather", '{"city":"Rome"}'), call("b", "weather", '{"city": "Åre"}')],
}
SNOW = {"role": "tool", "tool_call_id": "b", "content": "snow"}


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], PreTrainedTokenizerFast]:
    folder = tmp_path_factory.mktemp("models") / "nano"
    build_nano(folder)
    made = {}

    def of(name: str) -> PreTrainedTokenizerFast:
        if name not in made:
            made[name] = AutoTokenizer.from_pretrained(folder)
            made[name].chat_template = TEMPLATES[name] or made[name].chat_template
        return made[name]

    return of


@pytest.fixture(scope="module")
def nano(tokenizer: Callable[[str], PreTrainedTokenizerFast]) -> PreTrainedTokenizerFast:
    return tokenizer("nano")


def sent(messages: list[Turn], tools: list[Turn] | None = None) -> tuple[Any, Any]:
    """Messages and tools as they come out of a request to the service."""
    body = {"messages": messages, **({"tools": tools} if tools else {})}
    request = CompletionRequest.model_validate(body).of(Model("nano", "nano", None))
    return request.messages, request.tools


def learnt(tokenizer: PreTrainedTokenizerFast, messages: list[Turn], *tools: Turn) -> list[str]:
    text, stretches = written(tokenizer, messages, tools)
    return [text[start:stop] for start, stop in stretches]


# What has been so before


@pytest.mark.parametrize(
    ("messages", "tokens", "digest"),
    [
        (
            [
                SYSTEM,
                {"role": "user", "content": "hi"},
                {"role": "assistant", "content": "no", "weight": 0},
                {"role": "user", "content": "größe?"},
                {"role": "assistant", "content": "bye"},
            ],
            76,
            "b598a3961fb69631ef5507b5c234b7c00cf47f5333fa1031fb6e4819b011129b",
        ),
        (
            [{"role": "user", "content": "hi\n"}, {"role": "assistant", "content": " bye "}],
            29,
            "8776502a30633548a270f33bda0fe186959ac4749e9f0fd327fe90681a3ff72e",
        ),
    ],
)
def test_plain_rows_are_the_tokens_that_they_always_were(nano, messages, tokens, digest) -> None:
    row = encode(nano, messages)
    assert len(row.tokens) == tokens
    assert hashlib.sha256(json.dumps([row.tokens, row.learnt]).encode()).hexdigest() == digest


# Tools


def test_a_built_in_models_template_loads_as_it_would_with_transformers_and_without_torch(tmp_path) -> None:
    folder = tmp_path / "models" / "nano"
    build_nano(folder)
    code = (
        "import sys; from workbench.dataset.chat_template import tokenizer_of, as_text;"
        "t = tokenizer_of('nano'); print(as_text(t, [{'role': 'user', 'content': 'Hi'}], answer_next=True));"
        "print(t.encode('Hi ß'), 'torch' in sys.modules)"
    )
    environment = os.environ | {"WORKBENCH_MODELS": str(folder.parent)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True, cwd=ROOT
    )
    usual = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    asked = usual.apply_chat_template(
        [{"role": "user", "content": "Hi"}], tokenize=False, add_generation_prompt=True
    )
    assert done.stdout == f"{asked}\n{usual.encode('Hi ß')} False\n"


def test_a_model_without_tools_reads_them_as_text_and_learns_the_call(nano) -> None:
    text, ((start, stop),) = written(nano, [SYSTEM, ASK, ROME], [WEATHER])
    assert text[:start] == (
        "<|im_start|>system\nBe brief.\n\nYou may call these functions:\n<tools>\n"
        '{"type": "function", "function": {"name": "weather", "description": "The weather now.", '
        '"parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}}\n</tools>\n'
        "To call one, write JSON with its name and its arguments:\n"
        '<tool_call>\n{"name": <name>, "arguments": <object>}\n</tool_call><|im_end|>\n'
        "<|im_start|>user\nRome?<|im_end|>\n<|im_start|>assistant\n"
    )
    assert text[start:stop] == (
        '<tool_call>\n{"name": "weather", "arguments": {"city": "Rome"}}\n</tool_call><|im_end|>'
    )


def test_calls_are_learnt_but_neither_results_nor_what_has_weight_zero(nano) -> None:
    messages = [ASK, BOTH, SUN, SNOW, SAID]
    assert learnt(nano, messages, WEATHER) == [
        'I look.\n<tool_call>\n{"name": "weather", "arguments": {"city": "Rome"}}\n</tool_call>\n'
        '<tool_call>\n{"name": "weather", "arguments": {"city": "Åre"}}\n</tool_call><|im_end|>',
        "It is sunny.<|im_end|>",
    ]
    assert learnt(nano, [ASK, {**BOTH, "weight": 0}, SUN, SNOW, SAID], WEATHER) == ["It is sunny.<|im_end|>"]


def test_results_are_read_in_the_order_of_their_calls(nano) -> None:
    assert as_text(nano, [ASK, BOTH, SNOW, SUN], [WEATHER], answer_next=True).endswith(
        "<|im_start|>user\n<tool_response>\nsun\n30 degrees\n</tool_response>\n"
        "<tool_response>\nsnow\n</tool_response><|im_end|>\n<|im_start|>assistant\n"
    )


def test_what_is_learnt_reads_back_as_the_calls_of_the_row(nano) -> None:
    (said, _) = learnt(nano, [ASK, BOTH, SUN, SNOW, SAID], WEATHER)
    assert read_calls(said.removesuffix("<|im_end|>")) == (
        "I look.",
        (ToolCall("weather", '{"city": "Rome"}'), ToolCall("weather", '{"city": "Åre"}')),
    )


@pytest.mark.parametrize("arguments", ['{"a": "}\\n</tool_call>"}', '{"a": "<tool_call>\\n{"}', "{broken"])
def test_no_argument_looks_like_the_end_of_a_call(nano, arguments: str) -> None:
    turn = {"role": "assistant", "tool_calls": [call("1", "f", arguments)]}
    (said,) = learnt(nano, [ASK, turn])
    assert read_calls(said.removesuffix("<|im_end|>")) == ("", (ToolCall("f", arguments),))


@pytest.mark.parametrize("name", TEMPLATES)
def test_the_prompt_of_an_answer_is_how_its_row_begins(tokenizer, name: str) -> None:
    asked = [SYSTEM, ASK] if name != "llama-3.1" else [ASK]
    calls = BOTH if name != "llama-3.1" else ROME
    results = [SUN, SNOW] if name != "llama-3.1" else [SUN]
    whole = [*asked, calls, *results, SAID, ASK, ROME, SUN, {**SAID, "content": "Sunny."}]
    text = as_text(tokenizer(name), whole, [WEATHER], answer_next=False)
    row = encode(tokenizer(name), whole, [WEATHER])
    answers = [index for index, message in enumerate(whole) if message["role"] == "assistant"]
    for index in answers:
        prompt_of_service = encode_prompt(tokenizer(name), *sent(whole[:index], [WEATHER]))
        if index != answers[-1] and name == "qwen-3 without tools":
            continue  # its template writes an empty thought before the last answer only
        assert row.tokens[: len(prompt_of_service)] == tuple(prompt_of_service)
    assert all(word in text for word in ("weather", "The weather now.", "Rome", "Åre"[name == "llama-3.1" :]))
    ends = learnt(tokenizer(name), whole, WEATHER)
    assert len(ends) == 4
    assert '{"city": "Rome"}' in ends[0]
    assert not any("30 degrees" in said for said in ends)


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_conversation_that_comes_to_calls_late_begins_as_a_plain_one(tokenizer, name: str) -> None:
    plain = as_text(tokenizer(name), [ASK], answer_next=True)
    assert as_text(tokenizer(name), [ASK, ROME, SUN], answer_next=True).startswith(plain)


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_template_that_knows_tools_writes_them_itself(tokenizer, name: str) -> None:
    model = tokenizer(name)
    ours = "<tools>" in as_text(model, [ASK], [WEATHER], answer_next=True)
    assert ours == (name not in OWN)
    assert marks_calls(model) == (name != "llama-3.1")


def test_arguments_reach_a_template_of_its_own_as_an_object(tokenizer) -> None:
    (said,) = learnt(tokenizer("qwen"), [ASK, ROME], WEATHER)
    assert said == '<tool_call>\n{"name": "weather", "arguments": {"city": "Rome"}}\n</tool_call><|im_end|>'


@pytest.mark.parametrize(
    ("turn", "finding"),
    [
        (BOTH, r"only supports single tool-calls at once"),
        ({**ROME, "content": "I look."}, r"leaves out what messages\[1\] says beside its tool_calls"),
    ],
)
def test_what_a_template_with_tools_cannot_write_is_refused(tokenizer, turn: Turn, finding: str) -> None:
    with pytest.raises(DataError, match=finding):
        written(tokenizer("llama-3.1"), [ASK, turn], [WEATHER])


def test_the_ids_of_calls_and_their_spacing_make_no_other_row(nano, tokenizer) -> None:
    other = json.loads(json.dumps([ASK, BOTH, SUN, SNOW, SAID]).replace('"a"', '"call_x"'))
    other[1]["tool_calls"][0]["function"]["arguments"] = '{ "city" : "Rome" }'
    for model in (nano, tokenizer("qwen")):
        assert encode(model, other, [WEATHER]) == encode(model, [ASK, BOTH, SUN, SNOW, SAID], [WEATHER])


def test_the_old_form_of_tools_makes_the_same_row(nano) -> None:
    called = {"role": "assistant", "content": None, "function_call": call("", "weather", '{"city":"Rome"}')}
    called["function_call"] = called["function_call"]["function"]
    result = {"role": "function", "name": "weather", "content": SUN["content"]}
    old = tools_in({"functions": [WEATHER["function"]]})
    assert encode(nano, [ASK, called, result, SAID], old) == encode(nano, [ASK, ROME, SUN, SAID], [WEATHER])


# Texts


def test_a_refusal_is_the_assistants_text(nano) -> None:
    refused = {"role": "assistant", "content": None, "refusal": "I cannot."}
    parts = {"role": "assistant", "content": [{"type": "refusal", "refusal": "I cannot."}]}
    plain = encode(nano, [ASK, {"role": "assistant", "content": "I cannot."}])
    assert encode(nano, [ASK, refused]) == encode(nano, [ASK, parts]) == plain
    messages, _ = sent([ASK, refused, ASK])
    assert encode_prompt(nano, messages)[: len(plain.tokens)] == list(plain.tokens)


def test_parts_are_joined_and_a_developer_is_the_system(nano) -> None:
    parts = [{"type": "text", "text": "Be "}, {"type": "text", "text": "brief."}]
    messages = [{"role": "developer", "content": parts}, ASK, SAID]
    assert encode(nano, messages) == encode(nano, [SYSTEM, ASK, SAID])
    assert encode_prompt(nano, sent(messages[:2])[0]) == encode_prompt(nano, [SYSTEM, ASK])


def test_who_of_several_users_speaks_is_read_and_no_answer_begins_with_a_name(nano) -> None:
    messages = [{**ASK, "name": "ann"}, {**SAID, "name": "bot"}]
    text, ((start, stop),) = written(nano, messages)
    assert text[:start] == "<|im_start|>user\nann: Rome?<|im_end|>\n<|im_start|>assistant\n"
    assert text[start:stop] == "It is sunny.<|im_end|>"
    assert prompt(nano, sent(messages[:1])[0]) == text[:start]


def test_a_template_without_a_system_message_has_it_in_the_users(tokenizer) -> None:
    assert prompt(tokenizer("gemma"), [SYSTEM, ASK]).endswith(
        "<start_of_turn>user\nBe brief.\n\nRome?<end_of_turn>\n<start_of_turn>model\n"
    )
    assert prompt(tokenizer("silent"), [SYSTEM, ASK]).startswith("<|im_start|>user\nBe brief.<|im_end|>")


def test_an_image_is_refused_with_the_reason(nano) -> None:
    image = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}
    data = Dataset("x", (Example(({"role": "user", "content": [image]}, SAID), "x.jsonl:7"),))
    with pytest.raises(DataError, match=r"x\.jsonl:7: messages\[0\] has an image, and this model reads text"):
        encode_dataset(nano, data, 1000)


@pytest.mark.parametrize(
    ("message", "finding"),
    [
        ({"role": "assistant", "content": None}, r"messages\[1\] has no text"),
        ({"role": "assistant", "content": 3}, r"messages\[1\]\.content is neither a text nor a list"),
        ({"role": "assistant", "tool_calls": [{"id": "1"}]}, r"a call in messages\[1\] has no function"),
        ({"content": "hi"}, r"messages\[1\] has no role"),
    ],
)
def test_what_nobody_could_write_is_named_by_its_place(nano, message: Turn, finding: str) -> None:
    with pytest.raises(DataError, match=finding):
        written(nano, [ASK, message])


def test_a_tool_without_a_name_is_refused(nano) -> None:
    with pytest.raises(DataError, match=r"tools\[0\] is no function with a name"):
        written(nano, [ASK, SAID], [{"type": "function"}])


def test_a_dataset_is_encoded_with_the_tools_of_each_row(nano, tmp_path: Path) -> None:
    rows = (Example((ASK, ROME), "x:1", {"tools": [WEATHER]}), Example((ASK, SAID), "x:2"))
    with_tools, plain = encode_dataset(nano, Dataset("x", rows), 1000)
    assert with_tools == encode(nano, [ASK, ROME], [WEATHER])
    assert plain == encode(nano, [ASK, SAID])
