"""Generation against transformers: many prompts at once, that come and go, on several architectures."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    GptOssConfig,
    LlamaConfig,
    MistralConfig,
    Phi3Config,
    PreTrainedConfig,
    Qwen2Config,
    Qwen3Config,
)

from workbench.errors import DataError, SetupError
from workbench.local.inference.batch import Batch, answers
from workbench.local.inference.kv_cache import KVCache
from workbench.local.inference.layers import Adapters, PackedLinear, can_pack, pack
from workbench.local.inference.sampling import Grammars, Sampler, Sampling, draw
from workbench.local.models import lora
from workbench.local.models.bases import build_nano
from workbench.local.models.model import Base, load_base

SIZE = {
    "vocab_size": 259, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 4,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 512,
    "initializer_range": 0.2, "bos_token_id": 256, "eos_token_id": 257, "pad_token_id": 258,
}  # fmt: skip
ARCHITECTURES = {
    "llama": LlamaConfig(**SIZE),
    "qwen2": Qwen2Config(**SIZE),
    "qwen3": Qwen3Config(**SIZE, head_dim=32),
    "phi3": Phi3Config(**SIZE),
    "mistral": MistralConfig(**SIZE, sliding_window=9),
    "gpt-oss": GptOssConfig(**SIZE, head_dim=16, sliding_window=9, num_local_experts=4),
}
TEXTS = (
    "a red apple and a green pear",
    "a red apple and a green plum, please, as soon as you can",
    "short",
    "something else entirely, and a good deal longer than all of the rest, so that windows are left behind",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("models") / "nano"
    build_nano(made)
    return made


@pytest.fixture(scope="module")
def base(folder: Path) -> Base:
    return load_base("nano", folder, dtype=torch.float32)


@pytest.fixture
def architecture(request: pytest.FixtureRequest, base: Base) -> Base:
    config: PreTrainedConfig = ARCHITECTURES[request.param]
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    lora.wrap(model)
    return Base(request.param, model, base.tokenizer, frozenset({257}), 512)


def ids(text: str) -> list[int]:
    return list(text.encode())


def expected(base: Base, prompt: Sequence[int], tokens: int) -> list[int]:
    """What transformers' own greedy search answers."""
    inputs = torch.tensor([list(prompt)])
    mask = torch.ones_like(inputs)
    said = base.model.generate(inputs, attention_mask=mask, max_new_tokens=tokens, do_sample=False)
    return [token for token in said[0, len(prompt) :].tolist() if token not in base.stop_tokens]


def written(base: Base, batch: Batch, rows: Sequence[int], tokens: int) -> dict[int, list[int]]:
    """The next ``tokens`` tokens of each row, without those that end it."""
    said: dict[int, list[int]] = {row: [] for row in rows}
    while batch.live:
        for drawn in batch.step():
            if drawn.token not in base.stop_tokens:
                said[drawn.row].append(drawn.token)
            if len(said[drawn.row]) == tokens:
                batch.leave(drawn.row)
    return said


def save_random_adapter(folder: Path, base_folder: Path, seed: int, rank: int = 8) -> Path:
    """An adapter that changes answers."""
    model = load_base("nano", base_folder, dtype=torch.float32).model
    lora.add_adapter(model, "random", seed=seed)
    generator = torch.Generator().manual_seed(seed)
    for _, layer in lora.layers(model):
        b = layer.branches["random"].b
        b.data.copy_(torch.randn(b.shape, generator=generator) * 0.05)
    lora.save_adapter(model, "random", folder, base_model="nano")
    return folder


# Against transformers


@pytest.mark.parametrize("architecture", ARCHITECTURES, indirect=True)
def test_greedy_answers_equal_transformers_generate(architecture: Base) -> None:
    batch = Batch(architecture)
    rows = [batch.join(ids(text)) for text in TEXTS]
    said = written(architecture, batch, rows, 40)
    assert [said[row] for row in rows] == [expected(architecture, ids(text), 40) for text in TEXTS]


@pytest.mark.parametrize("architecture", ARCHITECTURES, indirect=True)
def test_prompts_that_join_later_answer_as_they_would_alone(architecture: Base) -> None:
    batch = Batch(architecture)
    lengths = dict(zip(TEXTS, (12, 50, 30, 20), strict=True))
    said: dict[int, list[int]] = {}
    texts: dict[int, str] = {}
    coming = list(TEXTS)
    for step in range(70):
        if step % 7 == 0 and coming:
            text = coming.pop(0)
            texts[batch.join(ids(text))] = text
        for drawn in batch.step():
            answer = said.setdefault(drawn.row, [])
            if not drawn.ended:
                answer.append(drawn.token)
            if len(answer) == lengths[texts[drawn.row]]:
                batch.leave(drawn.row)
    assert batch.live == []
    for row, text in texts.items():
        assert said[row] == expected(architecture, ids(text), lengths[text])


def test_answers_come_in_the_order_of_their_prompts(base: Base) -> None:
    texts = [f"{word} {text}" for word in ("one", "two", "three") for text in TEXTS]
    said = answers(base, [ids(text) for text in texts], max_tokens=5, batch_size=5)
    assert said == [base.text(expected(base, ids(text), 5)) for text in texts]


def test_a_prompt_of_many_tokens_is_read_in_pieces_beside_the_others(base: Base) -> None:
    batch = Batch(base)
    first = batch.join(ids("hi"))
    batch.step()
    long = ids("many words " * 150)
    second = batch.join(long)
    steps = [[drawn.row for drawn in batch.step()] for _ in range(4)]
    assert steps == [[first], [first], [first], [first, second]]


# Rows


def test_a_row_that_leaves_frees_its_memory(base: Base) -> None:
    batch = Batch(base)
    rows = [batch.join(ids(text)) for text in TEXTS]
    batch.step()
    assert batch.slots.rows * batch.slots.capacity >= sum(len(ids(text)) for text in TEXTS)
    for row in rows:
        batch.leave(row)
    batch.step()
    assert (batch.live, batch.slots.rows * batch.slots.capacity) == ([], 0)


def test_a_row_may_leave_before_it_was_read(base: Base) -> None:
    batch = Batch(base)
    waiting = batch.join(ids("never read"))
    batch.leave(waiting)
    assert (batch.step(), batch.live) == ([], [])


def test_a_start_that_prompts_share_is_read_once(base: Base) -> None:
    start = "the same instructions for every question: "  # 42 bytes, two blocks of 16
    batch = Batch(base)
    for question in ("red?", "green?", "blue?", "pink?"):
        batch.join(ids(start + question))
    assert [drawn.cached for drawn in batch.step()] == [32, 32, 32, 32]


def test_the_next_prompt_goes_on_from_what_was_read_before(base: Base) -> None:
    start = "examples that every question repeats. " * 4
    batch = Batch(base)
    first, second = batch.join(ids(start + "one?")), None
    cached = {drawn.row: drawn.cached for drawn in batch.step()}
    second = batch.join(ids(start + "two?"))
    cached |= {drawn.row: drawn.cached for drawn in batch.step()}
    assert cached == {first: 0, second: 144}  # of 152 bytes, in whole blocks


def test_a_remembered_start_changes_no_answer(base: Base) -> None:
    start = "examples that every question repeats. " * 4
    batch = Batch(base)
    written(base, batch, [batch.join(ids(start + "one?"))], 3)
    row = batch.join(ids(start + "two?"))
    assert written(base, batch, [row], 20)[row] == expected(base, ids(start + "two?"), 20)


def test_what_a_batch_holds_shrinks_with_it_and_changes_no_answer(base: Base) -> None:
    batch = Batch(base)
    row = batch.join(ids("say red"))
    others = [batch.join(ids("x" * 2000)) for _ in range(15)]
    said = []
    while len(said) < 20:
        said += [drawn.token for drawn in batch.step() if drawn.row == row]
        if len(said) == 10:
            assert batch.slots.allocated >= 16 * 2000
            for other in others:
                batch.leave(other)
    assert batch.slots.allocated <= 128
    assert said == expected(base, ids("say red"), 20)


def test_a_model_that_remembers_otherwise_is_refused() -> None:
    config = Qwen2Config(**SIZE)
    config.layer_types = ["linear_attention"] * 4
    with pytest.raises(SetupError, match="linear_attention"):
        KVCache(config)


def test_long_prompts_join_a_batch_whose_first_row_begins_late() -> None:
    slots, numbers = KVCache(LlamaConfig(**SIZE)), torch.Generator().manual_seed(0)

    def states(rows: int, length: int) -> tuple[tuple[torch.Tensor, torch.Tensor]]:
        keys, values = (torch.randn(rows, 2, length, 16, generator=numbers) for _ in range(2))
        return ((keys, values),)

    slots.join(states(1, 8), [(0, 8)])
    for _ in range(80):
        slots.written()
    late = states(1, 8)
    slots.join(late, [(0, 8)])
    slots.leave(0)
    long = states(2, 40)
    slots.join(long, [(0, 40), (1, 40)])  # more rows than there is memory for: what is unused goes
    assert slots.rows == 3
    assert min(slots.starts) == 0
    keys = slots.layers[0].keys
    for row, given in ((0, late[0][0][0]), (1, long[0][0][0]), (2, long[0][0][1])):
        assert torch.equal(keys[row, :, slots.starts[row] : slots.end], given)


# Adapters


def test_rows_of_one_batch_use_adapters_of_their_own(folder: Path, tmp_path: Path) -> None:
    saved = {name: save_random_adapter(tmp_path / name, folder, seed) for seed, name in enumerate("abc")}
    base = load_base("nano", folder, dtype=torch.float32)
    adapters = Adapters(base.model)
    for name, path in saved.items():
        adapters.load(name, path)
    batch = Batch(base, adapters)
    names = ["c", None, "a", "b", "a"]
    rows = [batch.join(ids("say red"), adapter=name) for name in names]
    together = written(base, batch, rows, 12)

    def alone(name: str | None) -> list[int]:
        single = load_base("nano", folder, dtype=torch.float32)
        if name:
            lora.load_adapter(single.model, name, saved[name])
            lora.use(single.model, name)
        return expected(single, ids("say red"), 12)

    assert [together[row] for row in rows] == [alone(name) for name in names]
    assert len({tuple(answer) for answer in together.values()}) == 4


def test_an_adapter_that_is_dropped_leaves_the_others_as_they_were(folder: Path, tmp_path: Path) -> None:
    base = load_base("nano", folder, dtype=torch.float32)
    adapters = Adapters(base.model)
    for seed, name in enumerate("abc"):
        adapters.load(name, save_random_adapter(tmp_path / name, folder, seed))

    def said(name: str) -> list[int]:
        batch = Batch(base, adapters)
        row = batch.join(ids("say red"), adapter=name)
        return written(base, batch, [row], 12)[row]

    before = said("c")
    adapters.drop("a")
    assert (adapters.names, said("c")) == (["b", "c"], before)


# Sampling


def drawn(base: Base, sampling: Sampling, tokens: int = 20) -> list[int]:
    batch = Batch(base)
    row = batch.join(ids("say red"), sampling)
    return written(base, batch, [row], tokens)[row]


def test_a_seed_repeats_a_draw_and_another_seed_does_not(base: Base) -> None:
    first = drawn(base, Sampling(temperature=1.0, top_p=0.9, seed=1))
    assert drawn(base, Sampling(temperature=1.0, top_p=0.9, seed=1)) == first
    assert drawn(base, Sampling(temperature=1.0, top_p=0.9, seed=2)) != first


def test_a_tiny_top_p_leaves_only_the_likeliest_token(base: Base) -> None:
    assert drawn(base, Sampling(1.0, 1e-6, seed=0)) == drawn(base, Sampling())


def test_draws_follow_the_chances() -> None:
    scores = torch.tensor([0.5, 0.3, 0.2]).log()
    sampler = Sampler(Sampling(temperature=1.0, seed=0))
    said = [draw(scores[None].clone(), [sampler])[0][0] for _ in range(2000)]
    shares = [said.count(token) / 2000 for token in range(3)]
    assert shares == pytest.approx([0.5, 0.3, 0.2], abs=0.034)  # three standard errors


def test_the_nucleus_is_the_smallest_set_that_holds_top_p() -> None:
    scores = torch.tensor([0.15, 0.5, 0.3, 0.05]).log()
    sampler = Sampler(Sampling(temperature=1.0, top_p=0.75, seed=0))
    assert {draw(scores[None].clone(), [sampler])[0][0] for _ in range(200)} == {1, 2}


def test_a_bias_forbids_or_forces_a_token() -> None:
    scores = torch.tensor([[1.0, 2.0, 3.0]])
    forbidden, forced = Sampling(logit_bias=((2, -100.0),)), Sampling(logit_bias=((0, 100.0),))
    assert draw(scores.repeat(2, 1), [Sampler(forbidden), Sampler(forced)]) == [(1, None), (0, None)]


@pytest.mark.parametrize(
    ("sampling", "said"),
    [
        (Sampling(presence_penalty=0.5), [2, 2, 2, 2]),
        (Sampling(presence_penalty=1.5), [2, 1, 2, 2]),  # 3 → 1.5, 2 → 0.5: once each, then as before
        (Sampling(frequency_penalty=0.6), [2, 2, 1, 2]),  # 3, 2.4, then 1.8 against 2
    ],
)
def test_penalties_make_repetition_dear(sampling: Sampling, said: list[int]) -> None:
    sampler = Sampler(sampling)
    assert [draw(torch.tensor([[0.0, 2.0, 3.0]]), [sampler])[0][0] for _ in range(4)] == said


def test_log_probabilities_are_the_models_own(base: Base) -> None:
    batch = Batch(base)
    batch.join(ids("say red"), Sampling(temperature=2.0, seed=0, top_logprobs=3, logit_bias=((65, 100.0),)))
    (step,) = batch.step()
    with torch.no_grad():
        plain = base.model(torch.tensor([ids("say red")])).logits[0, -1].log_softmax(-1)
    top = plain.topk(3)
    assert step.token == 65
    assert step.chances is not None
    assert step.chances.logprob == pytest.approx(float(plain[65]), abs=1e-4)
    assert [token for token, _ in step.chances.top] == top.indices.tolist()
    assert [chance for _, chance in step.chances.top] == pytest.approx(top.values.tolist(), abs=1e-4)


# Grammars

SCHEMA = json.dumps(
    {
        "type": "object",
        "properties": {
            "table": {"enum": ["orders", "products"]},
            "limit": {"type": "integer", "maximum": 99},
        },
        "required": ["table", "limit"],
        "additionalProperties": False,
    }
)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_an_answer_keeps_to_its_schema(base: Base, temperature: float) -> None:
    grammars = Grammars(base.tokenizer, base.stop_tokens)
    grammar = grammars.of_schema(SCHEMA)
    batch = Batch(base)
    rows = [
        batch.join(ids("say red"), Sampling(temperature, seed=seed), constraint=grammars.follow(grammar))
        for seed in range(4)
    ]
    for tokens in written(base, batch, rows, 200).values():
        answer = json.loads(base.text(tokens))
        assert answer["table"] in ("orders", "products")
        assert answer["limit"] <= 99


def test_a_free_row_beside_a_bound_one_stays_free(base: Base) -> None:
    grammars = Grammars(base.tokenizer, base.stop_tokens)
    batch = Batch(base)
    batch.join(ids("say red"), constraint=grammars.follow(grammars.of_schema(SCHEMA)))
    free = batch.join(ids("say red"))
    said = written(base, batch, [0, free], 20)
    assert said[free] == expected(base, ids("say red"), 20)


@pytest.mark.parametrize(
    ("schema", "finding"),
    [
        ('{"type": "objekt"}', "objekt"),
        ('{"$ref": "#/nowhere"}', "nowhere"),
        ('{"type": "string", "minLength": 5, "maxLength": 2}', "nsatisfiable|empty|minLength"),
    ],
)
def test_a_schema_that_cannot_be_followed_says_why(base: Base, schema: str, finding: str) -> None:
    with pytest.raises(DataError, match=finding):
        Grammars(base.tokenizer, base.stop_tokens).of_schema(schema)


# Products


needs_packing = pytest.mark.skipif(not can_pack(), reason="this processor has no AVX512 for packed layers")


@needs_packing
@pytest.mark.parametrize("rows", [1, 3, 32, 100])
@pytest.mark.parametrize("bias", [False, True])
def test_a_packed_layer_gives_what_the_plain_one_gives(rows: int, bias: bool) -> None:
    torch.manual_seed(0)
    linear = torch.nn.Linear(48, 40, bias=bias, dtype=torch.bfloat16)
    x = torch.randn(rows, 1, 48, dtype=torch.bfloat16)
    with torch.inference_mode():
        torch.testing.assert_close(PackedLinear(linear)(x), linear(x))


@needs_packing
def test_a_model_is_packed_once_and_answers_as_before(folder: Path) -> None:
    plain, packed = (load_base("nano", folder, dtype=torch.bfloat16) for _ in range(2))
    pack(packed.model)
    pack(packed.model)
    inputs = torch.tensor([ids("say red")])
    with torch.inference_mode():
        torch.testing.assert_close(
            packed.model(inputs).logits, plain.model(inputs).logits, rtol=0.05, atol=0.1
        )
