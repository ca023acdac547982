"""Tokens of examples: by hand, by tiktoken, by the model's own template, and in pieces."""

import pickle
import re
from array import array
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import tiktoken
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from workbench.dataset.check.row import Row, RowSource
from workbench.dataset.check.rules import completed
from workbench.dataset.dataset import Dataset, Example
from workbench.dataset.tokenizers import reference
from workbench.dataset.tokens import Bin, TokenCounts, Tokens, count_tokens, counter
from workbench.errors import SetupError
from workbench.local.models.bases import build_nano

HELLO = {"role": "user", "content": "hello world"}  # 2 tokens
BYE = {"role": "assistant", "content": "bye"}  # 1 token
NOWHERE: RowSource = object()  # type: ignore[assignment]


def chat(*messages: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"messages": list(messages), **more}


def counted(value: dict[str, Any], model: str | None = "gpt-4o") -> tuple[int, int]:
    total, trained, _ = counter(model).count_rows([Row(0, value)])
    return int(total[0]), int(trained[0])


def findings(tokens: Tokens) -> list[tuple[str, str, str, list[int]]]:
    return [
        (finding.level, finding.rule, finding.message, list(rows))
        for finding, rows in ((completed(found), rows) for found, rows in tokens.found(NOWHERE))
    ]


# The rule


def test_three_an_example_and_three_a_message_with_its_role_and_content():
    # 3 + (3 + user 1 + 2) + (3 + assistant 1 + 1) = 14
    assert counted(chat(HELLO, BYE)) == (14, 1)


def test_the_published_count_of_a_chat_comes_out():
    # OpenAI's cookbook, "How to count tokens with tiktoken": 129 for gpt-4, 124 for gpt-4o.
    example = [
        {
            "role": "system",
            "content": "You are a helpful, pattern-following assistant that translates corporate jargon into "
            "plain English.",
        },
        {
            "role": "system",
            "name": "example_user",
            "content": "New synergies will help drive top-line growth.",
        },
        {
            "role": "system",
            "name": "example_assistant",
            "content": "Things working well together will increase revenue.",
        },
        {
            "role": "system",
            "name": "example_user",
            "content": "Let's circle back when we have more bandwidth to touch base on opportunities for "
            "increased leverage.",
        },
        {
            "role": "system",
            "name": "example_assistant",
            "content": "Let's talk later when we're less busy about how to do better.",
        },
        {
            "role": "user",
            "content": "This late pivot means we don't have time to boil the ocean for the client "
            "deliverable.",
        },
    ]
    assert counted(chat(*example), "gpt-4") == (129, 0)
    assert counted(chat(*example), "gpt-4o") == (124, 0)


def test_a_turn_of_weight_zero_is_read_and_not_learnt():
    assert counted(chat(HELLO, {**BYE, "weight": 0}, HELLO, BYE)) == (25, 1)
    assert counted(chat(HELLO, {**BYE, "weight": 1}, HELLO, BYE)) == (25, 2)


def test_of_a_prompt_for_reinforcement_nothing_is_learnt():
    assert counted(chat(HELLO, BYE, HELLO, reference_answer="x" * 500)) == (20, 0)


def test_of_a_preference_all_three_texts_count_and_both_answers_are_learnt():
    pair = {
        "input": {"messages": [HELLO, BYE, HELLO]},
        "preferred_output": [BYE],
        "non_preferred_output": [BYE],
    }
    assert counted(pair) == (30, 2)


def test_tools_and_calls_count_as_their_json():
    tools = [{"type": "function", "function": {"name": "f"}}]
    call = {"role": "assistant", "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": "{}"}}]}
    encoding = reference("o200k_base")
    of_tools = len(encoding.encode('[{"type":"function","function":{"name":"f"}}]'))
    of_call = len(encoding.encode('[{"id":"1","function":{"name":"f","arguments":"{}"}}]'))
    assert counted(chat(HELLO, call, tools=tools)) == (3 + 6 + 4 + of_tools + of_call, of_call)
    of_pair = counted({"input": {"messages": [HELLO], "tools": tools}, "preferred_output": [BYE]})
    assert of_pair == (14 + of_tools, 1)


def test_an_image_counts_as_in_low_detail_and_a_finer_one_is_told():
    def shown(detail: str) -> dict[str, Any]:
        image = {"type": "image_url", "image_url": {"url": "https://x/y.png", "detail": detail}}
        return chat({"role": "user", "content": [{"type": "text", "text": "hello world"}, image]}, BYE)

    assert counted(shown("low")) == (99, 1)
    tokens = Tokens("gpt-4o", "sft")
    tokens.add([Row(1, shown("low")), Row(2, shown("high")), Row(3, chat(HELLO, BYE))])
    message = "an image not in low detail takes more than the 85 tokens counted for it"
    assert findings(tokens) == [("info", "not_counted", message, [2])]


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"messages": None},
        {"messages": [None, 3, "x"]},
        {"input": {"messages": 3}},
        {"input": 3, "preferred_output": "x"},
    ],
)
def test_a_row_without_messages_has_no_tokens(value):
    assert counted(value) == (0, 0)


def test_odd_values_do_not_stop_the_counting():
    odd = [{"role": 3, "content": 7}, {"role": "poet", "content": [None, {"text": 3}, {"type": "image_url"}]}]
    # 3, 3 for the first, 3 + poet 2 + image 85, 3 + the replaced half pair 1, '"x"' 2, '3' 1
    assert counted(chat(*odd, {"content": "\ud800"}, tools="x", functions=3)) == (103, 0)


@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=60), min_size=1, max_size=20))
@settings(max_examples=60, deadline=None)
def test_the_contents_have_as_many_tokens_as_tiktoken_makes_of_them(texts):
    value = chat(*({"role": "user", "content": text} for text in texts))
    encoding = reference("o200k_base")
    assert counted(value)[0] == 3 + sum(4 + len(encoding.encode_ordinary(text)) for text in texts)


# Names


@pytest.mark.parametrize(
    ("model", "encoding"),
    [
        ("gpt-4.1-mini-2025-04-14", "o200k_base"),
        ("gpt-4.1-nano", "o200k_base"),
        ("gpt-4o", "o200k_base"),
        ("GPT-4o-mini", "o200k_base"),
        ("o4-mini", "o200k_base"),
        ("gpt-5", "o200k_base"),
        ("gpt-oss-20b", "o200k_harmony"),
        ("gpt-3.5", "cl100k_base"),
        ("gpt-35-turbo-0125", "cl100k_base"),
        ("gpt-4", "cl100k_base"),
        ("gpt-4-0613", "cl100k_base"),
        ("ft:gpt-4o-mini-2024-07-18:me:name:AbC", "o200k_base"),
        ("gpt-4.1-2025-04-14.ft-0a1b2c-name", "o200k_base"),
        (None, "o200k_base"),
    ],
)
def test_models_are_known_by_the_names_people_write(model, encoding):
    assert counter(model).encoding == encoding


@pytest.mark.parametrize(
    "model", ["gpt-4o", "gpt-4.1-mini", "o4-mini", "gpt-5", "gpt-oss-20b", "gpt-3.5", "gpt-4"]
)
def test_the_catalogue_has_the_vocabulary_that_tiktoken_has(model):
    names = {"gpt-oss-20b": "o200k_harmony"}
    assert counter(model).encoding == names.get(model) or tiktoken.encoding_name_for_model(model)


@pytest.mark.parametrize("model", ["my-gpt-4o", "prod", "gpt-4o-prod", "gpt-9", ""])
def test_a_deployments_name_is_refused_with_the_names_there_are(model):
    said = r"no model '.*'\. (Did you mean .*\? )?It has gpt-4\.1, .*nano\. The name of a deployment"
    with pytest.raises(SetupError, match=said):
        counter(model)


def test_a_tokenizer_that_is_not_here_is_told_with_the_way_out(home: Path):
    with pytest.raises(SetupError, match=r"Qwen3-32B is not on this machine .*: put its tokenizer\.json"):
        counter("Qwen3-32B")
    with pytest.raises(SetupError, match=r"nano is not on this machine .*: the local service makes it"):
        counter("nano")
    tokens = Tokens("Qwen3-32B", "sft")
    tokens.add([Row(0, chat(HELLO, BYE))])
    ((level, rule, message, rows),) = findings(tokens)
    assert (level, rule, rows, tokens.total) == ("warning", "not_counted", [], 0)
    assert message.startswith("The tokenizer of Qwen3-32B is not on this machine")


# A model on this machine


@pytest.fixture
def nano(home: Path) -> str:
    build_nano(home / "models" / "nano")
    return "nano"


def test_a_model_here_is_counted_with_its_own_template(nano, home):
    tokenizer = AutoTokenizer.from_pretrained(home / "models" / "nano")
    ids = tokenizer.apply_chat_template([HELLO, BYE], tokenize=True)["input_ids"]
    # nano has one token a byte; learnt are "bye" and the end of the turn.
    assert counted(chat(HELLO, BYE), nano) == (len(ids), 4) == (35, 4)
    assert counter(nano).exact
    assert counter(nano).count(["bye", "größe", "\ud800", ""]) == [3, 7, 1, 0]
    assert counter(nano).count([]) == []


def test_a_preferences_prompt_is_read_once(nano):
    pair = {"input": {"messages": [HELLO]}, "preferred_output": [BYE], "non_preferred_output": [BYE]}
    assert counted(pair, nano) == (39, 8)


def test_of_a_prompt_for_reinforcement_nothing_is_learnt_by_a_model_here(nano):
    assert counted(chat(HELLO, BYE, HELLO), nano)[1] == 0


def test_rows_with_tools_are_counted_as_they_are_trained(nano):
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    row = {**chat(HELLO, {"role": "assistant", "tool_calls": [call]}), "tools": [{"function": {"name": "f"}}]}
    tokens = Tokens(nano, "sft")
    tokens.add([Row(0, row), Row(1, {"input": {"messages": [HELLO], "tools": row["tools"]}})])
    assert findings(tokens) == []
    # learnt are <tool_call>\n{"name": "f", "arguments": {}}\n</tool_call> and the end of the turn
    assert list(tokens.trained) == [56, 0]
    assert tokens.totals[0] - tokens.totals[1] == 56 + 1 + 11  # a line break; the opening of the answer


def test_what_the_template_cannot_write_and_what_is_too_long_are_found(nano):
    tokens = Tokens(nano, "sft")
    long = {"role": "user", "content": "x" * 8_200}
    broken = {"role": "assistant", "content": None}
    tokens.add([Row(1, chat(HELLO, BYE)), Row(2, chat(HELLO, broken)), Row(3, chat(long, BYE))])
    assert findings(tokens) == [
        (
            "warning",
            "not_counted",
            "the model's chat template cannot write the conversation, so its tokens are not counted",
            [2],
        ),
        ("error", "too_long", "longer than the 8,192 tokens an example that nano reads", [3]),
    ]


# What is found


def of_tokens(total: int) -> dict[str, Any]:
    """A row of exactly so many tokens: each " a" is one."""
    return chat({"role": "user", "content": " a" * (total - 12)}, BYE)


def test_an_example_over_the_limit_is_an_error_and_one_at_the_limit_is_none():
    tokens = Tokens("gpt-4.1-nano", "sft")
    tokens.add([Row(4, of_tokens(32_768)), Row(5, of_tokens(32_769))])
    message = (
        "longer than the 32,768 tokens an example that gpt-4.1-nano takes, says Microsoft Learn, "
        "fine-tuning models of Azure OpenAI (2025-02-06)"
    )
    assert list(tokens.totals) == [32_768, 32_769]
    assert findings(tokens) == [("error", "too_long", message, [5])]


def test_no_limit_is_made_up_for_a_model_without_one():
    tokens = Tokens("gpt-5", "rft")
    tokens.add([Row(0, of_tokens(500_000))])
    assert findings(tokens) == []


def test_an_example_over_ten_times_the_median_is_worth_a_look():
    tokens = Tokens(None, "sft")
    tokens.add(
        [Row(n, of_tokens(20)) for n in range(10)] + [Row(10, of_tokens(200)), Row(11, of_tokens(201))]
    )
    message = "more than 10 times as many tokens as half of the examples have"
    assert findings(tokens) == [("warning", "token_outlier", message, [11])]


def test_a_misspelt_model_is_refused_before_anything_is_counted():
    with pytest.raises(SetupError, match="no model 'gpt-41'"):
        Tokens("gpt-41", "sft")


def test_pieces_give_what_the_whole_gives_and_travel_between_processes():
    rows = [Row(n, of_tokens(20 + 7 * n % 50)) for n in range(40)]
    rows += [Row(40, {}), Row(50, of_tokens(700)), Row(51, of_tokens(70_000))]
    whole = Tokens("gpt-4o", "sft")
    whole.add(rows)
    pieces = []
    for start in range(0, len(rows), 9):
        piece = Tokens("gpt-4o", "sft")
        piece.add(rows[start : start + 9])
        pieces.append(pickle.loads(pickle.dumps(piece)))
    first, *others = pieces
    for piece in others:
        first.merge(piece)
    assert findings(first) == findings(whole)
    assert [rule for _, rule, _, _ in findings(whole)] == ["too_long", "token_outlier"]
    assert (first.totals, first.trained) == (whole.totals, whole.trained)
    assert whole.total_trained == 42


# The sum


def counts(*totals: int, limit: int | None = None) -> TokenCounts:
    return TokenCounts("x", "gpt-4o", "sft", "by hand", False, limit, array("q", totals), array("q", totals))


def test_a_dataset_is_summed_up():
    data = Dataset("faq", tuple(Example((HELLO, BYE), f"faq:{n}") for n in range(3)))
    found = count_tokens(data, "gpt-4o")
    assert (found.examples, found.total, found.trained, found.limit) == (3, 42, 3, 65_536)
    assert str(found) == "faq: 42 tokens in 3 examples, 3 of them learnt"
    assert count_tokens(Dataset("none", ())).total == 0


def test_median_percentile_and_longest():
    found = counts(*range(1, 101))
    assert (found.median, found.p95, found.longest) == (50.5, 95, 100)


def test_the_histogram_has_bins_that_double():
    found = counts(0, 63, 64, 127, 128, 1_000)
    assert found.histogram == (
        Bin(0, 63, 2),
        Bin(64, 127, 2),
        Bin(128, 255, 1),
        Bin(256, 511, 0),
        Bin(512, 1_023, 1),
    )
    assert counts().histogram == ()


@pytest.mark.parametrize("size", [1, 2, 3, 5, 6, 9])
def test_padding_is_the_mean_over_all_batches_there_can_be(size):
    lengths = (10, 20, 20, 35, 80, 100)
    batches = list(combinations(lengths, min(size, len(lengths))))
    longest = sum(map(max, batches)) / len(batches)
    expected = 1 - sum(lengths) / len(lengths) / longest if size > 1 else 0.0
    assert counts(*lengths).padding(size) == pytest.approx(expected)


def test_padding_of_equal_lengths_or_of_nothing_is_none():
    assert counts(7, 7, 7).padding(2) == pytest.approx(0)
    assert counts().padding(4) == 0


def test_what_a_context_cuts_off():
    found = counts(50, 100, 150)
    assert found.truncated(100) == pytest.approx(50 / 300)
    assert (found.over(100), found.over(99), found.over(150)) == (1, 2, 0)
    assert counts().truncated(10) == 0


def test_the_sum_is_shown_as_a_table_and_as_lines(unstyled):
    found = counts(50, 60, 1_000, limit=100)
    html = unstyled(found._repr_html_())
    assert '<th scope="row">beyond the limit of 100</th><td>1 example, 81.1 % of all</td>' in html
    assert re.findall(r'<th scope="row">([\d, to]+)</th><td><span.*?</svg>(\d+)</span>', html) == [
        ("0 to 199", "2"),
        ("200 to 399", "0"),
        ("400 to 599", "0"),
        ("600 to 799", "0"),
        ("800 to 999", "0"),
        ("1,000 to 1,199", "1"),
    ]
    assert "median: 60" in repr(found)
    assert "    512 to   1,023       1 " + "█" * 15 in repr(found)
