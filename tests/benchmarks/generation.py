"""Generation beside transformers, on SmolLM2 and the sample project's questions.

    python tests/benchmarks/generation.py          about six minutes of one core

Variants take turns inside one process, and only ratios of CPU time are printed: the machine's
speed drifts, its ratios hold. One thread, because a second one costs CPU time by waiting.
"""

import gc
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median

import psutil
import torch
from llguidance import LLMatcher
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, PreTrainedModel
from transformers.utils import logging

from workbench.dataset.read import read
from workbench.local.inference.batch import Batch
from workbench.local.inference.layers import Adapters, pack
from workbench.local.inference.sampling import Constraint, Grammars, Sampling
from workbench.local.models import lora
from workbench.local.models.bases import SMOLLM2, base_folder
from workbench.local.models.model import Base, best_type, encode_prompt, load_base
from workbench.local.workers import ENVIRONMENT
from workbench.settings import DATA, home, models_in

os.environ |= ENVIRONMENT | {"OMP_NUM_THREADS": "1"}  # before torch loads


ROUNDS = 5
ROWS = 32
TOKENS = 24
SHOTS = 12
SCHEMA = json.dumps(
    {
        "type": "object",
        "properties": {
            "table": {"type": "string"},
            "columns": {"type": "array", "items": {"type": "string"}},
        },
        "required": ["table", "columns"],
        "additionalProperties": False,
    }
)


def cpu_seconds(work: Callable[[], object]) -> float:
    """CPU time of this process for one call."""
    before = time.process_time()
    work()
    return time.process_time() - before


def in_turns(**variants: Callable[[], object]) -> dict[str, float]:
    """The median CPU seconds of each variant, measured turn by turn, after one turn to warm up."""
    times: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(ROUNDS + 1):
        for name, work in variants.items():
            times[name].append(cpu_seconds(work))
    return {name: median(taken[1:]) for name, taken in times.items()}


def endless(base: Base) -> Base:
    """``base`` without tokens that end an answer: every variant writes as many."""
    return Base(base.name, base.model, base.tokenizer, frozenset(), base.context)


def ours(
    base: Base,
    prompts: Sequence[list[int]],
    tokens: int,
    adapters: Adapters | None = None,
    names: Sequence[str | None] = (),
) -> None:
    """Write ``tokens`` tokens for every prompt."""
    batch = Batch(base, adapters)
    left = {
        batch.join(prompt, adapter=name): tokens
        for prompt, name in zip(prompts, names or [None] * len(prompts), strict=True)
    }
    while batch.live:
        for drawn in batch.step():
            left[drawn.row] -= 1
            if not left[drawn.row]:
                batch.leave(drawn.row)


def theirs(model: PreTrainedModel, prompts: Sequence[list[int]], tokens: int, padding: int) -> None:
    """The same by ``transformers.generate``, as its documentation shows it: padded on the left."""
    longest = max(len(prompt) for prompt in prompts)
    ids = torch.tensor([[padding] * (longest - len(prompt)) + prompt for prompt in prompts])
    mask = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    model.generate(ids, attention_mask=mask, max_new_tokens=tokens, min_new_tokens=tokens, do_sample=False)


def decoding(base: Base, prompts: Sequence[list[int]], tokens: int) -> Callable[[], object]:
    """Write ``tokens`` tokens in every row, the prompts read beforehand."""

    def write() -> None:
        for _ in range(tokens):
            batch.step()

    batch = Batch(base)
    rows = [batch.join(prompt) for prompt in prompts]
    while len(batch.step()) < len(rows):
        pass
    return write


class TimedConstraint(Constraint):
    """Counts the CPU seconds that keeping to a grammar takes."""

    spent = 0.0

    @contextmanager
    def _counted(self) -> Iterator[None]:
        before = time.process_time()
        yield
        TimedConstraint.spent += time.process_time() - before

    def allows(self, token: int) -> bool:
        with self._counted():
            return super().allows(token)

    def forbidden(self, vocabulary: int) -> torch.Tensor:
        with self._counted():
            return super().forbidden(vocabulary)

    def take(self, token: int) -> None:
        with self._counted():
            super().take(token)


def structured(base: Base, grammars: Grammars, prompts: Sequence[list[int]], sampling: Sampling) -> float:
    """The share of the CPU time of a step that a JSON schema costs."""
    grammar = grammars.of_schema(SCHEMA)
    batch = Batch(base)
    for prompt in prompts:
        matcher = LLMatcher(grammars.vocabulary, grammar, log_level=0)
        batch.join(prompt, sampling, constraint=TimedConstraint(matcher))
    batch.step()
    TimedConstraint.spent = 0.0

    def write() -> None:
        for _ in range(24):
            batch.step()

    whole = cpu_seconds(write)
    return TimedConstraint.spent / whole


def random_adapters(folder: Path, scratch: Path, base: Base) -> Adapters:
    """Five adapters of rank 8 beside ``base``; says what they add to the memory of the process."""
    model = load_base(SMOLLM2, folder).model
    lora.add_adapter(model, "random", seed=0)
    lora.save_adapter(model, "random", scratch, base_model=SMOLLM2)
    del model
    adapters = Adapters(base.model)
    process = psutil.Process()
    held = []
    for number in range(5):
        adapters.load(f"adapter-{number}", scratch)
        gc.collect()
        held.append(process.memory_info().rss)
    print(f"memory of the process, five tuned models / one   {held[4] / held[0]:.2f}")
    weights = sum(tensor.nbytes for tensor in base.model.state_dict().values())
    each = sum(tensor.nbytes for tensor in load_file(scratch / "adapter_model.safetensors").values()) // 2
    print(f"weights alone, five tuned models / one   {(weights + 5 * each) / (weights + each):.2f}")
    return adapters


def beside_transformers(base: Base, plain: PreTrainedModel, prompts: Sequence[list[int]]) -> None:
    """Print what batches of these prompts gain, and how ``transformers.generate`` does on the same."""
    speed = in_turns(one=decoding(base, prompts[:1], 12), many=decoding(base, prompts, 12))
    alone, together = speed["one"] / 12 * 1e3, speed["many"] / 12 / ROWS * 1e3
    print(f"  CPU ms a token: 1 row {alone:.0f}, {ROWS} rows {together:.1f}; ratio   {alone / together:.1f}")
    padding = int(base.tokenizer.eos_token_id or 0)
    for rows in (1, 8, ROWS):
        part = prompts[:rows]
        both = in_turns(
            ours=partial(ours, base, part, TOKENS), theirs=partial(theirs, plain, part, TOKENS, padding)
        )
        print(f"  whole answers, {rows} rows, generate / ours   {both['theirs'] / both['ours']:.2f}")
    both = in_turns(first=partial(ours, base, prompts[:1], 1), forward=partial(forward, plain, prompts[0]))
    print(f"  first token / one forward over the prompt   {both['first'] / both['forward']:.2f}")


def forward(model: PreTrainedModel, prompt: list[int]) -> None:
    """Read the prompt once, as transformers does by itself."""
    with torch.inference_mode():
        model(torch.tensor([prompt]), logits_to_keep=1)


def main() -> None:
    """Measure and print the ratios."""
    logging.disable_progress_bar()
    torch.set_num_threads(1)
    folder = base_folder(SMOLLM2, models_in(home()))
    base = endless(load_base(SMOLLM2, folder))
    pack(base.model)
    plain = AutoModelForCausalLM.from_pretrained(folder, dtype=best_type()).eval()
    plain.generation_config.eos_token_id = None
    dataset = read(DATA / "gql" / "pairs.csv", answer="query", system="Always return GQL.")
    prompts = [encode_prompt(base.tokenizer, example.prompt) for example in dataset[:ROWS]]
    shots = [message for example in dataset[:SHOTS] for message in example.messages[1:]]
    asked = [
        encode_prompt(base.tokenizer, [dataset[0].messages[0], *shots, example.prompt[-1]])
        for example in dataset[ROWS : 2 * ROWS]
    ]
    for name, many in (("short", prompts), ("few-shot", asked)):
        print(f"{name} prompts, about {sum(map(len, many)) // len(many)} tokens each")
        beside_transformers(base, plain, many)

    grammars = Grammars(base.tokenizer, frozenset({int(base.tokenizer.eos_token_id or 0)}))
    read_once = cpu_seconds(lambda: grammars.vocabulary)
    made = median(cpu_seconds(lambda: grammars.of_schema(SCHEMA)) for _ in range(9))
    print(f"CPU ms: the vocabulary for grammars, once, {read_once * 1e3:.0f}; a schema {made * 1e3:.1f}")
    for rows in (1, ROWS):
        for sampling in (Sampling(), Sampling(temperature=1.0, seed=0)):
            share = structured(base, grammars, prompts[:rows], sampling)
            warmth = f"temperature {sampling.temperature:.0f}"
            print(f"a schema, share of a step, {rows} rows, {warmth}   {share:.4f}")

    with tempfile.TemporaryDirectory() as scratch:
        adapters = random_adapters(folder, Path(scratch), base)
    names = [f"adapter-{row % 5}" for row in range(ROWS)]
    mixed = in_turns(
        bare=partial(ours, base, prompts, TOKENS, adapters),
        one=partial(ours, base, prompts, TOKENS, adapters, ["adapter-0"] * ROWS),
        five=partial(ours, base, prompts, TOKENS, adapters, names),
        alone_bare=partial(ours, base, prompts[:1], TOKENS, adapters),
        alone=partial(ours, base, prompts[:1], TOKENS, adapters, ["adapter-0"]),
    )
    print(f"{ROWS} rows, one adapter / none   {mixed['one'] / mixed['bare']:.2f}")
    print(f"{ROWS} rows, five adapters / one   {mixed['five'] / mixed['one']:.2f}")
    print(f"1 row, one adapter / none   {mixed['alone'] / mixed['alone_bare']:.2f}")


if __name__ == "__main__":
    main()
