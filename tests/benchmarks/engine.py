"""The engine beside PEFT and transformers, on SmolLM2 and the sample project's own rows.

    python tests/benchmarks/engine.py          about four minutes

Variants take turns inside one process, and only ratios of CPU time are printed: the machine's
speed drifts, its ratios hold. ``ROUNDS`` steps each after one to warm up; the median counts.
"""

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from workbench.local.workers import ENVIRONMENT

os.environ |= ENVIRONMENT  # before torch loads

import torch
from peft import LoraConfig, get_peft_model
from torch.nn import functional
from transformers import AutoModelForCausalLM
from transformers.utils import logging

from workbench import DATA, read
from workbench.local.engine.encoding import collate, encode_dataset, encode_prompt
from workbench.local.engine.generate import GREEDY, Batch
from workbench.local.engine.model import Base, best_type, load_base
from workbench.local.engine.trainer import Plan, SftRun
from workbench.local.engine.weights import SMOLLM2, base_folder
from workbench.settings import home, models_in

ROUNDS = 7
BATCH = 8
PLAN = Plan(
    n_epochs=1, batch_size=BATCH, learning_rate_multiplier=1.0, seed=0, eval_interval=1000, eval_samples=0
)


def cpu_seconds(work: Callable[[], object]) -> float:
    """CPU time of this process, all its threads, for one call."""
    before = time.process_time()
    work()
    return time.process_time() - before


def in_turns(**variants: Callable[[], object]) -> dict[str, float]:
    """The median CPU seconds of each variant, measured turn by turn."""
    times: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(ROUNDS + 1):
        for name, work in variants.items():
            times[name].append(cpu_seconds(work))
    return {name: median(taken[1:]) for name, taken in times.items()}


def peft_step(folder: Path, schedule: list[list[int]], rows: list) -> Callable[[], object]:
    """One optimiser step after the other as a careful user of PEFT would write it."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=best_type())
    targets = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    adapter = LoraConfig(r=8, lora_alpha=16, target_modules=targets, task_type="CAUSAL_LM")
    model = get_peft_model(model, adapter)
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trainable, lr=2e-3, weight_decay=0.0)
    waiting = iter(schedule)

    def step() -> None:
        ids, labels = collate([rows[row] for row in next(waiting)], padding=0)
        scores = model(input_ids=ids).logits[:, :-1].float()
        loss = functional.cross_entropy(scores.flatten(0, 1), labels[:, 1:].flatten(), ignore_index=-100)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trainable, 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return step


def decode(base: Base, prompts: list[list[int]], tokens: int) -> Callable[[], object]:
    """Write ``tokens`` tokens for every prompt, whatever they are."""

    def write() -> None:
        batch = Batch(base, prompts, [GREEDY] * len(prompts))
        for _ in range(tokens):
            batch.step()

    return write


def main() -> None:
    """Measure and print the ratios."""
    logging.disable_progress_bar()
    folder = base_folder(SMOLLM2, models_in(home()))
    dataset = read(DATA / "gql" / "pairs.csv", answer="query", system="Always return GQL.")
    base, plain = load_base(SMOLLM2, folder), load_base(SMOLLM2, folder, dtype=torch.float32)
    rows = encode_dataset(base.tokenizer, dataset, base.context)
    run, slow = SftRun(base, PLAN, rows, [], None), SftRun(plain, PLAN, rows, [], None)
    ours, in_float32 = iter(run), iter(slow)
    steps = in_turns(
        ours=lambda: next(ours),
        peft=peft_step(folder, run.schedule, rows),
        float32=lambda: next(in_float32),
    )
    print(f"training step, PEFT / ours           {steps['peft'] / steps['ours']:.2f}")
    print(f"training step, float32 / {best_type()}  {steps['float32'] / steps['ours']:.2f}")
    with tempfile.TemporaryDirectory() as scratch:
        saved = in_turns(save=lambda: run.save(Path(scratch) / "state.pt"))
    print(f"saving the state / training step     {saved['save'] / steps['ours']:.3f}")

    base = load_base(SMOLLM2, folder)
    base.model.requires_grad_(False)
    prompt = encode_prompt(base.tokenizer, dataset[0].prompt)
    prompts = [encode_prompt(base.tokenizer, example.prompt) for example in dataset[:32]]
    written = in_turns(one=decode(base, [prompt], 12), many=decode(base, prompts, 12))
    print(f"tokens per CPU second, 32 rows / 1   {32 * written['one'] / written['many']:.1f}")


if __name__ == "__main__":
    main()
