"""Requests for answers at the scheduler of one model, and the process around it, on the nano model."""

import json
import multiprocessing
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from scheduler_service import nano, nano_with_tools

from tests.local.inference.test_batch import save_random_adapter
from workbench.local.chat_protocol import ChatRequest, Choice, Completion, Delta, Refusal, ToolCall
from workbench.local.inference import sampling
from workbench.local.inference.inference_worker import ChatWorker, serve
from workbench.local.inference.sampling import read_calls
from workbench.local.inference.scheduler import Piece, Scheduler
from workbench.local.models.bases import build_nano
from workbench.local.models.model import Base, exceeds, load_base

ASKED = ChatRequest(
    model="nano",
    base_model="nano",
    adapter=None,
    messages=({"role": "user", "content": "say red"},),
    max_tokens=12,
    temperature=0.0,
)
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"enum": ["Rome", "Oslo"]}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("models") / "nano"
    build_nano(made)
    return made


@pytest.fixture(scope="module")
def base(folder: Path) -> Base:
    return nano(folder)


@pytest.fixture(scope="module")
def caller(tmp_path_factory: pytest.TempPathFactory) -> Base:
    return nano(nano_with_tools(tmp_path_factory.mktemp("tools") / "nano"))


def served(scheduler: Scheduler, *requests: ChatRequest, streamed: bool = False) -> dict[int, list[Piece]]:
    """All that each request gets."""
    for number, request in enumerate(requests):
        scheduler.take(number, request, streamed=streamed)
    pieces: dict[int, list[Piece]] = defaultdict(list)
    while scheduler.busy:
        for number, piece in scheduler.turn():
            pieces[number].append(piece)
    return pieces


def answer(scheduler: Scheduler, request: ChatRequest) -> Completion:
    (piece,) = served(scheduler, request)[0]
    assert isinstance(piece, Completion)
    return piece


def refusal(scheduler: Scheduler, request: ChatRequest) -> Refusal:
    with pytest.raises(Refusal) as caught:
        scheduler.take(0, request, streamed=False)
    return caught.value


# Answers


def test_an_answer_has_its_tokens_counted(base: Base) -> None:
    completion = answer(Scheduler(base), ASKED)
    assert (completion.choices[0].finish_reason, completion.completion_tokens) == ("length", 12)
    assert completion.prompt_tokens == len("_user\nsay red_\n_assistant\n")  # _ is one special token


def test_requests_that_wait_together_are_answered_together_each_as_it_asked(base: Base) -> None:
    scheduler = Scheduler(base)
    short = replace(ASKED, max_tokens=3, messages=({"role": "user", "content": "another question"},))
    alone = [answer(scheduler, ASKED), answer(scheduler, short)]
    together = served(scheduler, ASKED, short)
    assert [replace(together[n][0], cached_tokens=0) for n in (0, 1)] == [
        replace(one, cached_tokens=0) for one in alone
    ]


def test_answers_end_at_a_stop_sequence_that_is_not_shown(base: Base) -> None:
    whole = answer(Scheduler(base), replace(ASKED, max_tokens=40)).choices[0].text
    stop = whole[10:13]
    choice = answer(Scheduler(base), replace(ASKED, max_tokens=40, stop=(stop,))).choices[0]
    assert choice == Choice(whole[: whole.index(stop)], "stop")


def test_a_stream_never_shows_what_may_become_a_stop_sequence(base: Base) -> None:
    whole = answer(Scheduler(base), replace(ASKED, max_tokens=40)).choices[0].text
    request = replace(ASKED, max_tokens=40, stop=(whole[10:16],))
    *deltas, completion = served(Scheduler(base), request, streamed=True)[0]
    assert isinstance(completion, Completion)
    said = "".join(delta.text for delta in deltas if isinstance(delta, Delta))
    assert said == completion.choices[0].text == whole[: whole.index(whole[10:16])]


def test_a_stream_is_the_answer_in_pieces_without_half_characters(base: Base) -> None:
    # One byte a token: a letter such as é takes two steps.
    schema = json.dumps({"enum": ["é ü 日本"]})
    request = replace(ASKED, schema=schema, max_tokens=40)
    *deltas, completion = served(Scheduler(base), request, streamed=True)[0]
    assert isinstance(completion, Completion)
    pieces = [delta.text for delta in deltas if isinstance(delta, Delta)]
    assert pieces == ['"', "é", " ", "ü", " ", "日", "本", '"']
    assert completion.choices[0] == Choice('"é ü 日本"', "stop")


def test_several_answers_differ_and_a_seed_repeats_them_all(base: Base) -> None:
    request = replace(ASKED, n=3, temperature=1.0, seed=5)
    first, second = answer(Scheduler(base), request), answer(Scheduler(base), request)
    assert first.choices == second.choices
    assert len({choice.text for choice in first.choices}) == 3
    assert first.completion_tokens == sum(12 for _ in range(3))


def test_more_answers_than_fit_at_once_are_written_one_after_the_other(base: Base) -> None:
    assert len(answer(Scheduler(base), replace(ASKED, n=40, max_tokens=2)).choices) == 40


def test_log_probabilities_come_with_bytes_and_rivals(base: Base) -> None:
    choice = answer(Scheduler(base), replace(ASKED, schema='{"const": "é"}', top_logprobs=2)).choices[0]
    assert choice.likelihoods is not None
    assert [one.bytes for one in choice.likelihoods] == [(34,), (195,), (169,), (34,)]
    half = "\N{REPLACEMENT CHARACTER}"
    assert [one.token for one in choice.likelihoods] == ['"', half, half, '"']
    assert [len(one.top) for one in choice.likelihoods] == [2, 2, 2, 2]
    assert all(one.logprob <= 0 for one in choice.likelihoods)


# Bounds


def test_little_memory_makes_requests_wait_for_each_other(base: Base) -> None:
    per_token = 2 * 2 * 2 * 16 * base.model.dtype.itemsize  # keys and values, layers, heads, width
    scheduler = Scheduler(base, memory=100 * per_token)
    scheduler.take(0, replace(ASKED, max_tokens=40), streamed=True)
    scheduler.take(1, replace(ASKED, max_tokens=40), streamed=True)
    order = []
    while scheduler.busy:
        order += [number for number, piece in scheduler.turn() if isinstance(piece, Completion)]
        order += ["both"] if len({asked.number for asked, _ in scheduler.writing.values()}) == 2 else []
    assert order == [0, 1]


def test_a_client_that_leaves_frees_its_place(base: Base) -> None:
    scheduler = Scheduler(base)
    scheduler.take(0, replace(ASKED, n=3, max_tokens=1000), streamed=True)
    scheduler.take(1, replace(ASKED, n=40, max_tokens=1000), streamed=False)
    for _ in scheduler.turn():
        pass
    scheduler.leave(0)
    scheduler.leave(1)
    assert not scheduler.busy


def test_a_conversation_beyond_the_context_is_refused(base: Base) -> None:
    error = refusal(Scheduler(base), replace(ASKED, messages=({"role": "user", "content": "x" * 9000},)))
    assert (error.status, error.code) == (400, "context_length_exceeded")
    assert "maximum context length is 8192 tokens" in error.message


@pytest.mark.parametrize("text", ["x", "red blue ", " ", "\n", "é", "日本"])
def test_fifteen_megabytes_are_refused_without_being_tokenised_whole(base: Base, text: str) -> None:
    request = replace(
        ASKED, messages=({"role": "user", "content": text * (15_000_000 // len(text.encode()))},)
    )
    begin = time.process_time()
    error = refusal(Scheduler(base), request)
    assert time.process_time() - begin < 5  # tokenised whole they take more than ten
    assert (error.status, error.code) == (400, "context_length_exceeded")
    assert "the messages resulted in more than 8192 tokens" in error.message


def test_nothing_that_would_fit_is_called_too_long(tmp_path: Path) -> None:
    # One token takes all the blanks beside it; another one stands for a thousand characters.
    settings = json.loads((nano_with_tools(tmp_path / "nano") / "tokenizer.json").read_text(encoding="utf-8"))
    tokens = {token["content"]: token for token in settings["added_tokens"]}
    tokens["<|endoftext|>"]["rstrip"] = True
    (tmp_path / "nano" / "tokenizer.json").write_text(json.dumps(settings), encoding="utf-8")
    tokenizer = nano(tmp_path / "nano").tokenizer
    tokenizer.add_tokens(["y" * 1000])
    for text, length in (("<|endoftext|>" + " " * 200_000, 1), ("y" * 160_000, 160)):
        assert len(tokenizer(text, add_special_tokens=False)["input_ids"]) == length
        assert not exceeds(tokenizer, text, 8192)
    assert exceeds(tokenizer, "<|endoftext|>" + "z" * 200_000, 8192)


@pytest.mark.parametrize("arguments", ['{"a":' * 100_000, "[" * 50_000 + "]" * 50_000, "9" * 5000])
def test_arguments_that_cannot_be_read_end_no_process(caller: Base, arguments: str) -> None:
    called = {"id": "1", "type": "function", "function": {"name": "weather", "arguments": arguments}}
    messages = (*ASKED.messages, {"role": "assistant", "content": "", "tool_calls": [called]})
    asked = replace(ASKED, messages=messages, tools=(WEATHER,))
    if len(arguments) > 8192:
        assert refusal(Scheduler(caller), asked).code == "context_length_exceeded"
    else:
        assert answer(Scheduler(caller), asked).choices[0].finish_reason == "length"


def test_a_call_nested_too_deep_to_be_read_stays_text() -> None:
    text = '<tool_call>{"a":' + "[" * 50_000 + "}</tool_call>"
    assert read_calls(text) == (text, ())


def test_stop_sequences_of_a_megabyte_cost_no_more_than_short_ones(base: Base) -> None:
    whole = answer(Scheduler(base), replace(ASKED, max_tokens=40)).choices[0].text
    stops = (whole + "x" * 1_000_000, whole[:20] + "x" * 1_000_000, "y" * 1_000_000)
    begin = time.process_time()
    *deltas, completion = served(Scheduler(base), replace(ASKED, max_tokens=40, stop=stops), streamed=True)[0]
    assert time.process_time() - begin < 3  # not minutes
    assert isinstance(completion, Completion)
    assert completion.choices[0] == Choice(whole, "length")
    assert "".join(delta.text for delta in deltas if isinstance(delta, Delta)) in ("", whole)


def test_a_bias_for_every_token_many_times_is_one_product(base: Base) -> None:
    few = replace(ASKED, logit_bias=((65, 100.0),))
    many = replace(ASKED, logit_bias=((65, 100.0), *((token % 259, 0.0) for token in range(100_000))))
    begin = time.process_time()
    assert answer(Scheduler(base), many).choices == answer(Scheduler(base), few).choices
    assert time.process_time() - begin < 5  # entry by entry it takes ten


def test_a_schema_too_long_to_be_followed_is_refused(base: Base) -> None:
    error = refusal(Scheduler(base), replace(ASKED, schema=json.dumps({"const": "x" * 300_000})))
    assert error.message.endswith("it has 300,013 characters; at most 262,144 can be followed")


def test_a_schema_is_prepared_once_for_all_answers(base: Base, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    matcher = sampling.LLMatcher

    class Counted:
        grammar_from_json_schema = staticmethod(matcher.grammar_from_json_schema)

        def __new__(cls, *given: Any, **named: Any) -> Any:
            made.append(1)
            return matcher(*given, **named)

    monkeypatch.setattr(sampling, "LLMatcher", Counted)
    request = replace(ASKED, schema='{"enum": ["red", "blue"]}', n=40, temperature=1.0, seed=1)
    texts = {choice.text for choice in answer(Scheduler(base), request).choices}
    assert (texts, len(made)) == ({'"red"', '"blue"'}, 1)


def test_messages_that_the_template_cannot_write_are_refused(base: Base) -> None:
    error = refusal(Scheduler(base), replace(ASKED, messages=({"role": "user", "content": "\ud800"},)))
    assert (error.status, error.code) == (400, "invalid_request_error")


def test_a_tuned_model_that_was_deleted_is_refused(base: Base, tmp_path: Path) -> None:
    error = refusal(Scheduler(base), replace(ASKED, model="mine", adapter=str(tmp_path / "gone")))
    assert (error.status, error.message) == (404, "The model 'mine' no longer exists.")


def test_a_bias_for_a_token_that_does_not_exist_is_refused(base: Base) -> None:
    error = refusal(Scheduler(base), replace(ASKED, logit_bias=((259, 1.0),)))
    assert "token 259; nano has the tokens 0 to 258" in error.message


# Adapters


def test_tuned_models_answer_beside_their_base(folder: Path, tmp_path: Path) -> None:
    tuned = [
        replace(ASKED, model=name, adapter=str(save_random_adapter(tmp_path / name, folder, seed)))
        for seed, name in enumerate("ab")
    ]
    base = load_base("nano", folder, dtype=torch.float32)
    alone = [answer(Scheduler(base), request).choices for request in (ASKED, *tuned)]
    together = served(Scheduler(base), ASKED, *tuned)
    assert [together[number][0].choices for number in range(3)] == alone
    assert len(set(alone)) == 3


def test_the_adapters_kept_are_bounded(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workbench.local.inference.scheduler.ADAPTERS_KEPT", 2)
    scheduler = Scheduler(nano(folder))
    for seed, name in enumerate("abc"):
        answer(scheduler, replace(ASKED, adapter=str(save_random_adapter(tmp_path / name, folder, seed))))
    assert scheduler.adapters.names == [str(tmp_path / "b"), str(tmp_path / "c")]


# Tools


@pytest.mark.parametrize("knows_tools", [False, True])
def test_tools_and_their_results_reach_the_model(caller: Base, base: Base, knows_tools: bool) -> None:
    called = {"id": "1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Rome"}'}}
    messages = (
        *ASKED.messages,
        {"role": "assistant", "content": "", "tool_calls": [called]},
        {"role": "tool", "content": "sunny", "tool_call_id": "1"},
    )
    model = caller if knows_tools else base
    completion = answer(Scheduler(model), replace(ASKED, messages=messages, tools=(WEATHER,)))
    said = len(json.dumps(WEATHER)) + len('{"name": "weather", "arguments": {"city": "Rome"}}') + len("sunny")
    assert completion.prompt_tokens > said


def test_a_template_that_raises_is_refused_with_its_reason(base: Base) -> None:
    error = refusal(Scheduler(base), replace(ASKED, messages=({"role": "user", "content": "\ud800"},)))
    assert error.message.startswith("nano cannot read these messages: this model's chat template cannot")


def test_a_model_without_tools_calls_them_when_it_must(base: Base) -> None:
    request = replace(ASKED, tools=(WEATHER,), calls=("weather",), max_tokens=200)
    (choice,) = answer(Scheduler(base), request).choices
    (call,) = choice.tool_calls
    assert (choice.text, choice.finish_reason, call.name) == ("", "tool_calls", "weather")
    assert call.arguments in ('{"city": "Rome"}', '{"city": "Oslo"}')


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_demanded_call_is_made_with_arguments_of_its_schema(caller: Base, temperature: float) -> None:
    request = replace(
        ASKED, tools=(WEATHER,), calls=("weather",), temperature=temperature, seed=1, max_tokens=200
    )
    (choice,) = answer(Scheduler(caller), request).choices
    (call,) = choice.tool_calls
    assert (choice.text, choice.finish_reason, call.name) == ("", "tool_calls", "weather")
    assert json.loads(call.arguments)["city"] in ("Rome", "Oslo")


def test_a_stream_shows_no_half_call(caller: Base) -> None:
    request = replace(ASKED, tools=(WEATHER,), calls=("weather",), max_tokens=200)
    (completion,) = served(Scheduler(caller), request, streamed=True)[0]
    assert isinstance(completion, Completion)


@pytest.mark.parametrize(
    ("text", "rest", "calls"),
    [
        ("just text", "just text", ()),
        ('<tool_call>\n{"name": "f", "arguments": {"a": 1}}\n</tool_call>', "", (ToolCall("f", '{"a": 1}'),)),
        (
            'Two:\n<tool_call>{"name": "f", "arguments": {}}</tool_call><tool_call>{"name": "g"}</tool_call>',
            "Two:",
            (ToolCall("f", "{}"), ToolCall("g", "{}")),
        ),
        ("<tool_call>{broken}</tool_call>", "<tool_call>{broken}</tool_call>", ()),
        ('<tool_call>{"name": "f"} and more', '<tool_call>{"name": "f"} and more', ()),
        (
            '<tool_call>{"name": "f", "arguments": {"a": "}</tool_call>"}}',
            "",
            (ToolCall("f", '{"a": "}</tool_call>"}'),),
        ),
        ('<tool_call>{"name": 3}</tool_call>', '<tool_call>{"name": 3}</tool_call>', ()),
    ],
)
def test_calls_are_told_from_text(text: str, rest: str, calls: tuple[ToolCall, ...]) -> None:
    assert read_calls(text) == (rest, calls)


# Grammars


def test_an_answer_cut_short_says_so_though_it_has_a_schema(base: Base) -> None:
    choice = answer(Scheduler(base), replace(ASKED, schema='{"type": "object"}', max_tokens=1)).choices[0]
    assert choice == Choice("{", "length")


def test_a_schema_that_cannot_be_followed_is_refused(base: Base) -> None:
    error = refusal(Scheduler(base), replace(ASKED, schema='{"type": "objekt"}'))
    assert error.status == 400
    assert error.message.startswith("The JSON schema in response_format cannot be followed:")


# The process


def test_the_worker_survives_what_it_must_refuse_and_ends_when_nobody_asks(models: Path) -> None:
    ours, theirs = Pipe()
    ours.send(("ask", 1, replace(ASKED, schema="{")))
    ours.send(("ask", 2, replace(ASKED, base_model="no such model")))
    ours.send(("leave", 7, None))
    ours.send(("stream", 3, replace(ASKED, max_tokens=2)))
    ChatWorker(models, theirs, patience=0.0).run()
    theirs.close()
    said: dict[int, list[Piece]] = defaultdict(list)
    while ours.poll():
        try:
            number, piece = ours.recv()
        except EOFError:
            break
        said[number].append(piece)
    assert {number: type(pieces[-1]) for number, pieces in said.items()} == {
        1: Refusal,
        2: Refusal,
        3: Completion,
    }


@pytest.fixture(scope="module")
def worker(models: Path) -> Iterator[Connection]:
    """The connection to a worker in a process of its own."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    child = context.Process(target=serve, args=(models, theirs), daemon=True)
    child.start()
    theirs.close()
    try:
        yield ours
    finally:
        child.kill()
        child.join()


def received(connection: Connection, *numbers: int) -> list[tuple[int, Piece]]:
    """The last pieces for requests ``numbers``, in the order in which they come."""
    last: list[tuple[int, Piece]] = []
    while {number for number, _ in last} < set(numbers):
        number, piece = connection.recv()
        last += [] if isinstance(piece, Delta) else [(number, piece)]
    return last


def test_small_requests_do_not_wait_for_large_ones(worker: Connection) -> None:
    properties = {f"p{index}": {"type": "string"} for index in range(5000)}
    slow = replace(ASKED, schema=json.dumps({"type": "object", "properties": properties}))  # seconds
    worker.send(("ask", 0, ASKED))
    received(worker, 0)
    for number in (1, 2, 3):
        worker.send(("ask", number, slow))
    worker.send(("leave", 2, None))
    worker.send(("leave", 3, None))
    worker.send(("ask", 4, ASKED))
    assert [number for number, _ in received(worker, 1, 4)] == [4, 1]


def test_a_schema_with_a_long_chain_of_references_ends_no_process(worker: Connection) -> None:
    chain = {
        f"a{at}": {"anyOf": [{"$ref": f"#/$defs/a{at + 1}"}, {"items": {"$ref": f"#/$defs/a{at + 1}"}}]}
        for at in range(2000)
    }
    schema = {"$ref": "#/$defs/a0", "$defs": chain | {"a2000": {"type": "string"}}}
    worker.send(("ask", 1, replace(ASKED, schema=json.dumps(schema))))
    ((_, refused),) = received(worker, 1)
    worker.send(("ask", 2, ASKED))
    ((_, answered),) = received(worker, 2)
    assert isinstance(refused, Refusal)
    assert refused.message.startswith("The JSON schema in response_format cannot be followed: Parser Error:")
    assert len(refused.message) < 300  # not the state of the parser, and the schema once more
    assert isinstance(answered, Completion)


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc is asked to give memory back")
def test_memory_is_given_back_after_many_log_probabilities(worker: Connection) -> None:
    large = replace(ASKED, n=128, top_logprobs=20, max_tokens=100, temperature=1.0)
    worker.send(("ask", 0, replace(ASKED, top_logprobs=20)))
    received(worker, 0)
    (process,) = multiprocessing.active_children()
    child = psutil.Process(process.pid)
    before = child.memory_info().rss
    for number in (1, 2):
        worker.send(("ask", number, large))
        received(worker, number)
    worker.send(("ask", 3, ASKED))  # comes after what is done behind an answer
    received(worker, 3)
    assert child.memory_info().rss - before < 80 * 1024**2  # 45 MB; 140 if nothing is given back
