"""A GGUF file of the Llama architecture becomes a plain Hugging Face folder, once.

The ``gguf`` package unpacks the numbers; here they are renamed, and the query and key rows are
put back into Hugging Face's order. Weights are stored as bfloat16: every later load is a quick
memory map.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gguf import GGUFReader, TokenType
from gguf.quants import dequantize
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from workbench.errors import SetupError

LAYER_NAMES = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
}
TOP_NAMES = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}


def convert_gguf(source: Path, folder: Path) -> None:
    """Write config, weights (bfloat16) and tokenizer of ``source`` to ``folder``.

    Raises ``SetupError`` when the file holds another architecture or tokenizer than Llama with
    a byte-level vocabulary, which is all that the default base model needs.
    """
    reader = GGUFReader(source)
    architecture, tokenizer = _field(reader, "general.architecture"), _field(reader, "tokenizer.ggml.model")
    if (architecture, tokenizer) != ("llama", "gpt2"):
        raise SetupError(f"{source.name} holds {architecture}/{tokenizer}; only llama/gpt2 can be converted.")
    folder.mkdir(parents=True)
    weights = _weights(reader)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    config = _config(reader, tied="lm_head.weight" not in weights)
    (folder / "config.json").write_text(json.dumps(config, indent=1), encoding="utf-8")
    _save_tokenizer(reader, folder)


def _field(reader: GGUFReader, key: str) -> Any:
    found = reader.get_field(key)
    return None if found is None else found.contents()


def _weights(reader: GGUFReader) -> dict[str, torch.Tensor]:
    heads = {
        "attn_q": _field(reader, "llama.attention.head_count"),
        "attn_k": _field(reader, "llama.attention.head_count_kv"),
    }
    weights = {}
    for tensor in reader.tensors:
        values = dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        first, *rest = tensor.name.split(".")
        if first == "blk":
            layer, kind = rest[0], rest[1]
            if kind in heads:  # llama.cpp interleaves the two halves of each rotary pair
                pairs = values.reshape(heads[kind], values.shape[0] // heads[kind] // 2, 2, values.shape[1])
                values = pairs.swapaxes(1, 2).reshape(values.shape)
            name = f"model.layers.{layer}.{LAYER_NAMES[kind]}.weight"
        else:
            name = f"{TOP_NAMES[first]}.weight"
        weights[name] = torch.from_numpy(np.ascontiguousarray(values)).to(torch.bfloat16)
    return weights


def _config(reader: GGUFReader, *, tied: bool) -> dict[str, Any]:
    def llama(key: str) -> Any:
        return _field(reader, f"llama.{key}")

    def token(key: str) -> Any:
        return _field(reader, f"tokenizer.ggml.{key}_token_id")

    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": len(_field(reader, "tokenizer.ggml.tokens")),
        "hidden_size": llama("embedding_length"),
        "intermediate_size": llama("feed_forward_length"),
        "num_hidden_layers": llama("block_count"),
        "num_attention_heads": llama("attention.head_count"),
        "num_key_value_heads": llama("attention.head_count_kv"),
        "head_dim": llama("rope.dimension_count"),
        "rms_norm_eps": round(llama("attention.layer_norm_rms_epsilon"), 9),
        "max_position_embeddings": llama("context_length"),
        "rope_theta": llama("rope.freq_base"),
        "hidden_act": "silu",
        "tie_word_embeddings": tied,
        "bos_token_id": token("bos"),
        "eos_token_id": token("eos"),
        "pad_token_id": token("padding"),
        "dtype": "bfloat16",
    }


def _save_tokenizer(reader: GGUFReader, folder: Path) -> None:
    tokens = _field(reader, "tokenizer.ggml.tokens")
    merges = [tuple(merge.split(" ", 1)) for merge in _field(reader, "tokenizer.ggml.merges")]
    kinds = _field(reader, "tokenizer.ggml.token_type")
    tokenizer = Tokenizer(models.BPE({token: index for index, token in enumerate(tokens)}, merges))
    # The pre-tokenizer that llama.cpp calls "smollm": single digits, then byte level.
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    control = [tokens[index] for index, kind in enumerate(kinds) if kind == TokenType.CONTROL]
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in control])
    tokenizer.save(str(folder / "tokenizer.json"))

    def special(key: str) -> str:
        return str(tokens[_field(reader, f"tokenizer.ggml.{key}_token_id")])

    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": special("bos"),
        "eos_token": special("eos"),
        "pad_token": special("padding"),
        "model_max_length": _field(reader, "llama.context_length"),
        "clean_up_tokenization_spaces": False,
        "chat_template": _field(reader, "tokenizer.chat_template"),
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=1), encoding="utf-8")
