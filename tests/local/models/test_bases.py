"""Base models of other families: tiny random ones of the real architectures, trained, saved and asked."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from job_specs import start
from model_families import CHATML, FAMILIES, SMALL, build
from openai import OpenAI
from starlette.testclient import TestClient
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    LlamaConfig,
    MambaConfig,
)

from workbench import catalog
from workbench.dataset.dataset import Dataset, Example
from workbench.errors import SetupError
from workbench.local.api.app import create_app
from workbench.local.inference.batch import Batch, answers
from workbench.local.inference.sampling import Sampling
from workbench.local.models import lora
from workbench.local.models.bases import base_folder, base_models, build_nano, find_base
from workbench.local.models.model import Base, TokenRow, encode, encode_prompt, load_base, logits
from workbench.local.training.packing import hidden_states, keeps_apart, pack
from workbench.local.training.run import ADAPTER, RunSettings, TrainingRun
from workbench.local.training.supervised import Supervised
from workbench.training.follow import follow

KEY = "the-key-of-this-test"
PLAN = RunSettings(
    n_epochs=1, batch_size=2, learning_rate_multiplier=1.0, seed=0, eval_interval=100, eval_samples=0
)


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    home = tmp_path_factory.mktemp("families")

    def folder(name: str) -> Path:
        if not (home / name).exists():
            build(home / name, *FAMILIES[name])
        return home / name

    return folder


def load(folder: Path) -> Base:
    return load_base(folder.name, folder, dtype=torch.float32)


def exchange(number: int) -> list[dict[str, object]]:
    return [
        {"role": "user", "content": f"say {number}"},
        {"role": "assistant", "content": f"number {number}"},
        {"role": "user", "content": "and the one after it, please"},
        {"role": "assistant", "content": f"number {number + 1}"},
    ]


def learnt(base: Base, messages: list[dict[str, object]]) -> str:
    row = encode(base.tokenizer, messages)
    return base.tokenizer.decode(
        [token for token, is_learnt in zip(*row_pairs(row), strict=True) if is_learnt]
    )


def row_pairs(row: TokenRow) -> tuple[tuple[int, ...], tuple[bool, ...]]:
    return row.tokens, row.learnt


# What is learnt, by template


LEARNT = {
    "llama-2": " number 1 </s> number 2 </s>",
    "llama-3.1": "number 1<|eot_id|>number 2<|eot_id|>",
    "mistral": " number 1 </s> number 2 </s>",
    "phi-3": "number 1<|end|>number 2<|end|>",
    "qwen-2": "number 1<|im_end|>number 2<|im_end|>",
    "qwen-3": "number 1<|im_end|><think>\n\n</think>\n\nnumber 2<|im_end|>",
    "gemma-2": "number 1<end_of_turn>number 2<end_of_turn>",
    "gpt-oss": ("<|channel|>final<|message|>number 1<|end|><|channel|>final<|message|>number 2<|return|>"),
}


@pytest.mark.parametrize("name", FAMILIES)
def test_what_each_family_learns_is_what_it_has_to_say_and_the_end_of_its_turn(
    family: Callable[[str], Path], name: str
) -> None:
    assert learnt(load(family(name)), exchange(1)) == LEARNT[name]


@pytest.mark.parametrize("name", FAMILIES)
def test_a_prompt_goes_up_to_the_first_word_of_the_answer(family: Callable[[str], Path], name: str) -> None:
    base = load(family(name))
    prompt = encode_prompt(base.tokenizer, exchange(1)[:3])
    whole = encode(base.tokenizer, exchange(1)).tokens
    assert whole[: len(prompt)] == tuple(prompt)
    assert base.tokenizer.decode(whole[len(prompt) :]).lstrip().startswith("number 2")


@pytest.mark.parametrize("name", FAMILIES)
def test_the_end_of_a_turn_ends_an_answer(family: Callable[[str], Path], name: str) -> None:
    base = load(family(name))
    assert base.tokenizer.convert_tokens_to_ids(FAMILIES[name][2]) in base.stop_tokens


# Training


@pytest.mark.parametrize("name", FAMILIES)
def test_conversations_in_one_line_are_read_as_transformers_reads_each_alone(
    family: Callable[[str], Path], name: str
) -> None:
    base = load(family(name))
    plain = AutoModelForCausalLM.from_pretrained(
        family(name), dtype=torch.float32, attn_implementation="eager"
    )
    rows = [encode(base.tokenizer, exchange(number)) for number in (1, 20, 300)]
    with torch.no_grad():
        ours = hidden_states(base.model, pack(rows, torch.device("cpu")))
        theirs = [plain.get_decoder()(torch.tensor([row.tokens])).last_hidden_state[0] for row in rows]
    torch.testing.assert_close(ours, torch.cat(theirs), rtol=1e-4, atol=1e-4)


@pytest.mark.filterwarnings("ignore")  # PEFT uses what transformers deprecates
@pytest.mark.parametrize("name", FAMILIES)
def test_an_adapter_of_each_family_means_the_same_to_peft_and_answers(
    family: Callable[[str], Path], name: str, tmp_path: Path
) -> None:
    from peft import PeftModel

    base = load(family(name))
    rows = [encode(base.tokenizer, exchange(number)) for number in range(6)]
    steps = list(TrainingRun(Supervised(), base, PLAN, rows))
    assert len(steps) == 3
    lora.save_adapter(base.model, ADAPTER, tmp_path, base_model=name)
    plain = AutoModelForCausalLM.from_pretrained(
        family(name), dtype=torch.float32, attn_implementation="eager"
    )
    ids = torch.tensor([rows[0].tokens])
    with torch.no_grad():
        ours = logits(base.model, hidden_states(base.model, pack(rows[:1], torch.device("cpu"))))
        untouched = plain(ids).logits[0]
        theirs = PeftModel.from_pretrained(plain, tmp_path)(ids).logits[0]
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    assert (ours - untouched).abs().max() > 1e-3
    said = answers(base, [encode_prompt(base.tokenizer, exchange(1)[:1])], max_tokens=4)
    assert isinstance(said[0], str)


def test_attention_that_is_capped_is_capped_in_answers_too(family: Callable[[str], Path]) -> None:
    base = load(family("gemma-2"))
    plain = AutoModelForCausalLM.from_pretrained(
        family("gemma-2"), dtype=torch.float32, attn_implementation="eager"
    )
    prompt = encode_prompt(base.tokenizer, exchange(20)[:1])
    batch = Batch(base)
    batch.join(prompt, Sampling(top_logprobs=1))
    [drawn] = batch.step()
    with torch.no_grad():
        theirs = plain(torch.tensor([prompt])).logits[0, -1].log_softmax(-1)
    assert drawn.token == int(theirs.argmax())
    assert drawn.chances is not None
    assert drawn.chances.logprob == pytest.approx(float(theirs.max()), abs=1e-4)


def test_long_conversations_are_read_the_same_with_the_kernel_that_stores_no_scores(
    family: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    base = load(family("mistral"))
    rows = [encode(base.tokenizer, exchange(number)) for number in (1, 300)]
    with torch.no_grad():
        short = hidden_states(base.model, pack(rows, torch.device("cpu")))
        monkeypatch.setattr("workbench.local.training.packing.LONG", 8)
        long = hidden_states(base.model, pack(rows, torch.device("cpu")))
    torch.testing.assert_close(short, long)


def test_layers_that_do_not_attend_are_found_out(tmp_path: Path) -> None:
    config = MambaConfig(vocab_size=288, hidden_size=32, num_hidden_layers=2, initializer_range=0.2)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    assert not keeps_apart(model)


def test_the_service_trains_the_experts_neighbours_only_and_says_which(
    family: Callable[[str], Path], tmp_path: Path
) -> None:
    base = load(family("gpt-oss"))
    lora.add_adapter(base.model, ADAPTER, seed=0)
    lora.save_adapter(base.model, ADAPTER, tmp_path, base_model="gpt-oss")
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert config["target_modules"] == ["k_proj", "o_proj", "q_proj", "v_proj"]


# What cannot be a base


def test_a_model_without_a_chat_template_is_refused_with_the_way_out(tmp_path: Path) -> None:
    folder = build(tmp_path / "plain", LlamaConfig(**SMALL), None)
    with pytest.raises(SetupError, match=r"plain has no chat template.*chat_template\.jinja"):
        load_base("plain", folder)


def test_a_model_without_linear_layers_is_refused(tmp_path: Path) -> None:
    config = GPT2Config(vocab_size=288, n_embd=32, n_layer=1, n_head=2, n_positions=128)
    folder = build(tmp_path / "gpt2", config, CHATML, "<|im_end|>")
    with pytest.raises(SetupError, match="no linear layers"):
        load_base("gpt2", folder)


def test_a_folder_without_weights_is_refused_with_its_path(tmp_path: Path) -> None:
    folder = build(tmp_path / "half", LlamaConfig(**SMALL), CHATML, "<|im_end|>")
    (folder / "model.safetensors").unlink()
    with pytest.raises(SetupError, match=r"The base model half in .*half cannot be loaded"):
        load_base("half", folder)


# Names


def test_folders_beside_the_built_in_models_are_bases_by_their_names(tmp_path: Path) -> None:
    build_nano(tmp_path / "mine")
    build_nano(tmp_path / "org" / "small")
    assert base_models(tmp_path) == ("SmolLM2-135M-Instruct", "nano", "mine", "org/small")
    assert find_base("ORG/Small", tmp_path) == "org/small"
    assert base_folder("org/small", tmp_path) == tmp_path / "org" / "small"


def test_the_catalogue_knows_a_folder_as_a_local_model(home: Path) -> None:
    build_nano(home / "models" / "mine")
    assert catalog.model("mine.ft-0a1b").service == "local"
    assert catalog.model("mine").methods == ("sft", "dpo", "rft")


@pytest.mark.parametrize("name", ["../secrets", "/etc", "org/../../x", "a/b/c", "", "missing", "org/missing"])
def test_a_name_that_leads_nowhere_says_where_bases_come_from(name: str, tmp_path: Path) -> None:
    assert find_base(name, tmp_path) is None
    with pytest.raises(SetupError, match=r"There is no base model .*'hf download org/name'"):
        base_folder(name, tmp_path)


def test_a_model_in_the_hubs_cache_is_a_base_by_its_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = tmp_path / "models--org--tiny" / "snapshots" / "abc"
    build_nano(snapshot)
    reference = tmp_path / "models--org--tiny" / "refs" / "main"
    reference.parent.mkdir()
    reference.write_text("abc")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert find_base("org/tiny", tmp_path / "models") == "org/tiny"
    assert base_folder("org/tiny", tmp_path / "models") == snapshot


# On the service


@pytest.fixture(scope="module")
def client(family: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenAI]:
    folders = tmp_path_factory.mktemp("models")
    shutil.copytree(family("phi-3"), folders / "acme" / "phi-3-tiny")
    app = create_app(tmp_path_factory.mktemp("home"), KEY, models=folders)
    with TestClient(app) as http:
        yield OpenAI(base_url="http://127.0.0.1/openai/v1/", api_key=KEY, http_client=http, max_retries=0)


def test_a_base_in_a_folder_is_listed_trained_and_asked(client: OpenAI) -> None:
    assert "acme/phi-3-tiny" in [model.id for model in client.models.list()]
    data = Dataset("numbers", tuple(Example(tuple(exchange(n)), f"numbers:{n}") for n in range(12)))
    *_, done = follow(client, start(client, data, model="acme/phi-3-tiny", n_epochs=1), poll_seconds=0.05)
    assert done.job.status == "succeeded", done.job.error
    assert str(done.job.fine_tuned_model).startswith("acme/phi-3-tiny.ft-")
    completion = client.chat.completions.create(
        model=str(done.job.fine_tuned_model), messages=[{"role": "user", "content": "say 3"}], max_tokens=4
    )
    assert completion.usage is not None
    assert completion.usage.completion_tokens <= 4
