"""What the model will see: its own template's text where it is here, and what of it is learnt."""

from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from workbench.dataset.dataset import Example
from workbench.dataset.rendering import Rendering, Stretch, rendered
from workbench.errors import DataError, SetupError
from workbench.local.models.bases import build_nano
from workbench.local.models.model import encode

ASK = {"role": "user", "content": "1 < 2?"}
YES = {"role": "assistant", "content": "<b>yes</b>"}
NO = {"role": "assistant", "content": "no"}


@pytest.fixture
def nano(home: Path) -> str:
    build_nano(home / "models" / "nano")
    return "nano"


def example(*messages: dict[str, Any], **more: Any) -> Example:
    return Example(messages, "x.jsonl:7", more)


def test_a_model_here_shows_its_own_template(nano):
    seen = rendered(example(ASK, YES), nano)
    assert seen.pieces == (
        Stretch("<|im_start|>user\n1 < 2?<|im_end|>\n<|im_start|>assistant\n", False),
        Stretch("<b>yes</b><|im_end|>", True),
        Stretch("\n", False),
    )
    assert seen.exact


def test_what_is_marked_is_what_the_engine_trains_on(nano, home):
    tokenizer = AutoTokenizer.from_pretrained(home / "models" / "nano")
    messages = [ASK, {**NO, "weight": 0}, ASK, YES, ASK, NO]
    row = encode(tokenizer, messages)
    learnt = [token for token, is_learnt in zip(row.tokens, row.learnt, strict=True) if is_learnt]
    marked = "".join(text for text, trained in rendered(example(*messages), nano).pieces if trained)
    assert marked == tokenizer.decode(learnt) == "<b>yes</b><|im_end|>no<|im_end|>"


def test_tools_and_calls_are_shown_as_the_model_here_reads_them(nano, home):
    tokenizer = AutoTokenizer.from_pretrained(home / "models" / "nano")
    tools = [{"type": "function", "function": {"name": "add"}}]
    call = {"id": "1", "type": "function", "function": {"name": "add", "arguments": '{"a":1}'}}
    messages = [ASK, {"role": "assistant", "tool_calls": [call]}]
    prompt, learnt, _ = rendered(example(*messages, tools=tools), nano).pieces
    assert '<tools>\n{"type": "function", "function": {"name": "add"}}\n</tools>' in prompt.text
    assert learnt.text == '<tool_call>\n{"name": "add", "arguments": {"a": 1}}\n</tool_call><|im_end|>'
    row = encode(tokenizer, messages, tools)
    assert tokenizer.decode(row.tokens) == prompt.text + learnt.text + "\n"
    (asked,) = rendered(example(ASK, tools=tools, reference="2"), nano).pieces
    assert asked.text == prompt.text


def test_of_a_preference_both_texts_are_shown(nano):
    seen = rendered(example(ASK, preferred_output=[YES], non_preferred_output=[NO]), nano)
    assert seen.pieces[0] == seen.rejected[0]
    assert (seen.pieces[1], seen.rejected[1]) == (
        Stretch("<b>yes</b><|im_end|>", True),
        Stretch("no<|im_end|>", True),
    )


def test_a_prompt_for_reinforcement_ends_where_the_assistant_begins(nano):
    (piece,) = rendered(example(ASK, NO, ASK, reference="2"), nano).pieces
    assert piece.text.endswith("1 < 2?<|im_end|>\n<|im_start|>assistant\n")
    assert not piece.trained


@pytest.mark.parametrize("content", [None, "\ud800", ["x"]])
def test_what_the_template_cannot_write_is_named_by_its_line(nano, content):
    with pytest.raises(DataError, match=r"x\.jsonl:7: this model's chat template cannot write"):
        rendered(example(ASK, {"role": "assistant", "content": content}), nano)


def test_for_openais_models_the_layout_only_resembles():
    seen = rendered(
        example({"role": "system", "content": "Be brief."}, ASK, {**NO, "weight": 0}, ASK, YES), "gpt-4o"
    )
    assert seen.pieces == (
        Stretch(
            "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n1 < 2?<|im_end|>\n"
            "<|im_start|>assistant\nno<|im_end|>\n<|im_start|>user\n1 < 2?<|im_end|>\n"
            "<|im_start|>assistant\n",
            False,
        ),
        Stretch("<b>yes</b><|im_end|>", True),
        Stretch("\n", False),
    )
    assert not seen.exact
    assert str(seen) == "x.jsonl:7 for gpt-4o, about as it sees it: its real layout is not published"


def test_tools_calls_names_and_images_are_shown():
    call = {"role": "assistant", "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": "{}"}}]}
    image = {"type": "image_url", "image_url": {"url": "https://x/y.png"}}
    asks = {"role": "user", "name": "ann", "content": [{"type": "text", "text": "See:"}, image]}
    text = "".join(
        piece.text for piece in rendered(example(asks, call, tools=[{"type": "function"}]), "gpt-4o").pieces
    )
    assert text == (
        '<|im_start|>tools\n[{"type":"function"}]<|im_end|>\n'
        "<|im_start|>user name=ann\nSee:\n[image]<|im_end|>\n"
        '<|im_start|>assistant\n[{"id":"1","function":{"name":"f","arguments":"{}"}}]<|im_end|>\n'
    )


def test_a_model_without_vocabulary_or_tokenizer_says_how_to_get_one(home: Path):
    with pytest.raises(SetupError, match=r"put its tokenizer\.json"):
        rendered(example(ASK, YES), "Llama-3.3-70B-Instruct")
    with pytest.raises(SetupError, match="no model 'gpt-9'"):
        rendered(example(ASK, YES), "gpt-9")


def test_the_notebook_marks_what_is_learnt_by_more_than_colour_and_escapes_it(unstyled):
    seen = Rendering("<x>", "m", (Stretch("ask\ud800 ", False), Stretch("<b>", True)), (Stretch("no", True),))
    html = seen._repr_html_()
    assert "text-decoration:underline" in html
    assert unstyled(html) == (
        "<figure><figcaption>&lt;x&gt; for m, about as it sees it: its real layout is not published; "
        "<mark>marked and underlined</mark>: what the model learns to say</figcaption>"
        "<pre>ask? <mark>&lt;b&gt;</mark></pre>"
        "<figcaption>The rejected answer to the same prompt</figcaption><pre><mark>no</mark></pre></figure>"
    )


def test_in_a_shell_brackets_mark_it():
    seen = Rendering("x:1", "m", (Stretch("ask ", False), Stretch("yes", True)), exact=True)
    assert repr(seen) == "x:1 for m, its own chat template\nask ⟦yes⟧"
