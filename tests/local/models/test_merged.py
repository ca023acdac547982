"""Base and adapter as one: the same logits in a folder and in GGUF, read by transformers alone."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from model_families import CHATML, FAMILIES, SMALL, build
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, Qwen3Config

from workbench.local.models import lora, merged
from workbench.local.models.bases import build_nano
from workbench.local.models.model import load_base

IDS = torch.arange(3, 40)[None]
TEXT = "Bonjour 123, wie geht's? äöü 日本 <|im_end|>"
WIDE = Qwen3Config(**SMALL, head_dim=128)  # as all of Qwen's: transformers takes it for granted in GGUF
IN_GGUF = {name: FAMILIES[name] for name in ("llama-2", "qwen-2")} | {"wide": (WIDE, CHATML, "<|im_end|>")}


def trained(folder: Path, adapter: Path) -> torch.Tensor:
    """Save an adapter with random factors, and give the logits of the base with it in our own layers."""
    base = load_base(folder.name, folder, dtype=torch.float32)
    numbers = torch.Generator().manual_seed(3)
    for parameter in lora.add_adapter(base.model, "mine", seed=1):
        parameter.data.copy_(torch.randn(parameter.shape, generator=numbers) * 0.1)
    lora.save_adapter(base.model, "mine", adapter, base_model=folder.name)
    return logits(base.model)


def logits(model: torch.nn.Module) -> torch.Tensor:
    with torch.inference_mode():
        return model(IDS).logits


def loaded(folder: Path, **given: str) -> torch.nn.Module:
    return AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager", **given
    )


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    home = tmp_path_factory.mktemp("families")

    def folder(name: str) -> Path:
        return home / name if (home / name).exists() else build(home / name, *FAMILIES[name])

    return folder


@pytest.mark.parametrize("name", FAMILIES)
def test_a_merged_folder_of_each_family_gives_the_logits_of_base_and_adapter(
    family: Callable[[str], Path], name: str, tmp_path: Path
) -> None:
    expected = trained(family(name), tmp_path / "adapter")
    untuned = logits(loaded(family(name)))
    model = merged.merged(name, family(name), tmp_path / "adapter")
    merged.write_folder(model, family(name), tmp_path / "out", "f32")
    torch.testing.assert_close(logits(loaded(tmp_path / "out")), expected, rtol=1e-3, atol=1e-3)
    assert (untuned - expected).abs().max() > 0.1
    tokenizers = [AutoTokenizer.from_pretrained(folder) for folder in (family(name), tmp_path / "out")]
    assert tokenizers[0].encode(TEXT) == tokenizers[1].encode(TEXT)
    assert tokenizers[0].chat_template == tokenizers[1].chat_template


@pytest.mark.parametrize("name", IN_GGUF)
def test_transformers_reads_the_same_model_and_vocabulary_from_a_gguf_file(name: str, tmp_path: Path) -> None:
    base = build(tmp_path / name, *IN_GGUF[name])
    expected = trained(base, tmp_path / "adapter")
    assert merged.why_not_gguf(base) is None
    model = merged.merged(name, base, tmp_path / "adapter")
    merged.write_gguf(model, base, tmp_path / "model.gguf", "mine", "f32")
    found = loaded(tmp_path, gguf_file="model.gguf")
    torch.testing.assert_close(logits(found), expected, rtol=1e-3, atol=1e-3)
    read = AutoTokenizer.from_pretrained(tmp_path, gguf_file="model.gguf")
    own = AutoTokenizer.from_pretrained(base)
    assert read.encode(TEXT, add_special_tokens=False) == own.encode(TEXT, add_special_tokens=False)
    assert read.chat_template == own.chat_template


@pytest.mark.parametrize(("type_", "worst"), [("f16", 0.02), ("bf16", 0.2), ("q8_0", 0.5)])
def test_shorter_weights_cost_little(tmp_path: Path, type_: str, worst: float) -> None:
    build_nano(tmp_path / "nano")
    expected = trained(tmp_path / "nano", tmp_path / "adapter")
    model = merged.merged("nano", tmp_path / "nano", tmp_path / "adapter")
    merged.write_gguf(model, tmp_path / "nano", tmp_path / "model.gguf", "mine", type_)
    off = (logits(loaded(tmp_path, gguf_file="model.gguf")) - expected).abs().max()
    assert 0 < off < worst


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("llama-3.1", "its positions are scaled (rope_scaling)"),
        ("mistral", "its attention has a sliding window"),
        ("gemma-2", "its architecture is gemma2, and only llama, mistral, qwen2, qwen3 are written"),
        ("gpt-oss", "its architecture is gpt_oss, and only llama, mistral, qwen2, qwen3 are written"),
    ],
)
def test_what_gguf_does_not_carry_here_is_said(family: Callable[[str], Path], name: str, why: str) -> None:
    assert merged.why_not_gguf(family(name)) == why


def test_the_pieces_of_chatml_are_found_with_the_instructions_that_it_adds_by_itself(tmp_path: Path) -> None:
    default = (
        "{% if messages[0].role != 'system' %}{{ '<|im_start|>system\nBe kind.<|im_end|>\n' }}{% endif %}"
    )
    _, template, _ = FAMILIES["qwen-2"]
    build(tmp_path, LlamaConfig(**SMALL), default + template)
    assert merged.turns(tmp_path) == merged.Turns(
        {
            "system": "<|im_start|>system\n",
            "user": "<|im_start|>user\n",
            "assistant": "<|im_start|>assistant\n",
        },
        {"system": "<|im_end|>\n", "user": "<|im_end|>\n", "assistant": "<|im_end|>\n"},
        "",
        "<|im_start|>system\nBe kind.<|im_end|>\n",
        "<|im_start|>assistant\n",
    )


def test_the_beginning_of_a_text_stands_once(family: Callable[[str], Path]) -> None:
    found = merged.turns(family("llama-3.1"))
    assert found is not None
    assert found.first == "<s>"
    assert found.before["user"] == "<|start_header_id|>user<|end_header_id|>\n\n"
    assert found.after["assistant"] == "<|eot_id|>"


def test_a_template_without_words_before_the_answer_adds_none(family: Callable[[str], Path]) -> None:
    found = merged.turns(family("llama-2"))
    assert found is not None
    assert (found.before["user"], found.after["user"], found.answer) == ("<s>[INST] ", " [/INST]", "")


@pytest.mark.parametrize("name", ["phi-3", "qwen-3", "gemma-2", "gpt-oss"])
def test_a_template_with_conditions_has_no_such_pieces(family: Callable[[str], Path], name: str) -> None:
    assert merged.turns(family(name)) is None


def test_answers_are_those_of_one_question_at_a_time(tmp_path: Path) -> None:
    build_nano(tmp_path)
    chats = [[{"role": "user", "content": "a" * length}] for length in (3, 40, 11)]
    together = merged.answers(tmp_path, chats, longest=6)
    assert together == [merged.answers(tmp_path, [chat], longest=6)[0] for chat in chats]
    assert len(set(together)) > 1
