"""Training beside TRL, PEFT and the machine's own limit, on SmolLM2 and the sample project's rows.

    python tests/benchmarks/training.py          about ten minutes

Variants take turns inside one process and CPU time is counted per real token, because the machine's
speed drifts and its ratios hold; the median of ``ROUNDS`` steps after one to warm up counts. What
needs a process of its own (peak memory, how fast a worker is there) gets one.
"""

import multiprocessing
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

import torch
from torch.nn import functional
from transformers import AutoModelForCausalLM, PreTrainedModel
from transformers.utils import logging

from workbench.dataset.read import read
from workbench.local.models.bases import SMOLLM2, base_folder
from workbench.local.models.model import Base, TokenRow, best_type, encode_dataset, load_base
from workbench.local.training.packing import IGNORED
from workbench.local.training.run import RunSettings, TrainingRun
from workbench.local.training.supervised import Supervised
from workbench.local.workers import ENVIRONMENT, PRELOADED
from workbench.settings import DATA, home, models_in

os.environ |= ENVIRONMENT  # before torch loads


ROUNDS = 9
BATCH = 8
PLAN = RunSettings(
    n_epochs=2, batch_size=BATCH, learning_rate_multiplier=1.0, seed=0, eval_interval=1000, eval_samples=0
)
FOLDER = base_folder(SMOLLM2, models_in(home()))


def rows_of(base: Base) -> list[TokenRow]:
    """The sample project's training pairs, about 50 tokens each."""
    dataset = read(DATA / "gql" / "pairs.csv", answer="query", system="Always return GQL.")
    return encode_dataset(base.tokenizer, dataset, base.context)


def ours(dtype: torch.dtype | None = None) -> Iterator[int]:
    """Train, in the best type unless told otherwise; yields the number of real tokens after every step."""
    base = load_base(SMOLLM2, FOLDER, dtype=dtype)
    rows = rows_of(base)
    run = TrainingRun(Supervised(), base, PLAN, rows)
    for step in run:
        yield sum(len(rows[row].tokens) for row in run.schedule[step.number - 1])


def with_peft() -> Iterator[int]:
    """The same job as a careful user of PEFT would write it: the same batches, padded."""
    base = load_base(SMOLLM2, FOLDER)
    rows = rows_of(base)
    schedule = TrainingRun(Supervised(), base, PLAN, rows).schedule
    model = _peft_model()
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trainable, lr=2e-3, weight_decay=0.0)
    for step in schedule:
        batch = [rows[row] for row in step]
        ids, labels = _padded(batch)
        scores = model(input_ids=ids).logits[:, :-1].float()
        loss = functional.cross_entropy(scores.flatten(0, 1), labels[:, 1:].flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trainable, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        yield sum(len(row.tokens) for row in batch)


def with_trl() -> Iterator[int]:
    """The same job with TRL's SFTTrainer: its collator, its loss, its step, but none of its logging."""
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    base = load_base(SMOLLM2, FOLDER)
    examples = [
        {
            "input_ids": list(row.tokens),
            "labels": [
                token if learnt else IGNORED for token, learnt in zip(row.tokens, row.learnt, strict=True)
            ],
        }
        for row in rows_of(base)
    ]
    with tempfile.TemporaryDirectory() as scratch:
        settings = SFTConfig(
            output_dir=scratch,
            per_device_train_batch_size=BATCH,
            use_cpu=True,
            bf16=False,
            activation_checkpointing=False,
            report_to=[],
            seed=0,
        )
        trainer = SFTTrainer(
            model=_peft_model(),
            args=settings,
            train_dataset=Dataset.from_list(examples),
            processing_class=base.tokenizer,
        )
        trainer.create_optimizer_and_scheduler(1000)
        trainer.current_gradient_accumulation_steps = 1  # train() sets it
        trainable = [parameter for parameter in trainer.model.parameters() if parameter.requires_grad]
        while True:
            for inputs in trainer.get_train_dataloader():
                trainer.training_step(trainer.model, inputs)
                torch.nn.utils.clip_grad_norm_(trainable, 1.0)
                trainer.optimizer.step()
                trainer.lr_scheduler.step()
                trainer.optimizer.zero_grad()
                yield int(inputs["attention_mask"].sum())


def _peft_model() -> PreTrainedModel:
    from peft import LoraConfig, get_peft_model

    targets = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    adapter = LoraConfig(r=8, lora_alpha=16, target_modules=targets, task_type="CAUSAL_LM")
    return get_peft_model(AutoModelForCausalLM.from_pretrained(FOLDER, dtype=best_type()), adapter)


def _padded(rows: list[TokenRow]) -> tuple[torch.Tensor, torch.Tensor]:
    longest = max(len(row.tokens) for row in rows)
    ids = torch.zeros(len(rows), longest, dtype=torch.long)
    labels = torch.full((len(rows), longest), IGNORED)
    for index, row in enumerate(rows):
        tokens = torch.tensor(row.tokens)
        ids[index, : len(tokens)] = tokens
        labels[index, : len(tokens)] = torch.where(torch.tensor(row.learnt), tokens, IGNORED)
    return ids, labels


def product_rate() -> float:
    """Floating-point operations per CPU second of a 2048 x 2048 x 2048 matrix product in the best type."""
    left, right = (torch.randn(2048, 2048).to(best_type()) for _ in range(2))
    before = time.process_time()
    left @ right
    return 2 * 2048**3 / (time.process_time() - before)


def flops_per_token(base: Base, rows: list[TokenRow]) -> float:
    """What LoRA has to compute: frozen weights forward and for the gradient, the head where it is learnt.

    4 x 106.2 M + 4 x 28.3 M x the learnt share for SmolLM2; the branches' own work is not counted.
    """
    head = base.model.get_output_embeddings().weight.numel()
    body = sum(parameter.numel() for parameter in base.model.parameters()) - head
    learnt = sum(sum(row.learnt) for row in rows) / sum(len(row.tokens) for row in rows)
    return 4 * body + 4 * head * learnt


def speeds() -> None:
    """Our step beside PEFT's and TRL's, and beside what the processor can multiply, with one thread."""
    usual = torch.get_num_threads()
    torch.set_num_threads(1)
    base = load_base(SMOLLM2, FOLDER)
    per_token = flops_per_token(base, rows_of(base))
    running = {"ours": ours(), "PEFT": with_peft(), "TRL": with_trl(), "float32": ours(torch.float32)}
    seconds: dict[str, list[float]] = {name: [] for name in running}
    rates = []
    for _ in range(ROUNDS + 1):
        rates.append(product_rate())
        for name, steps in running.items():
            before = time.process_time()
            tokens = next(steps)
            seconds[name].append((time.process_time() - before) / tokens)
    cost = {name: median(taken[1:]) for name, taken in seconds.items()}
    print(f"training, CPU time: TRL / ours                {cost['TRL'] / cost['ours']:.2f}")
    print(f"training, CPU time: PEFT loop / ours          {cost['PEFT'] / cost['ours']:.2f}")
    print(f"training, CPU time: float32 / {best_type()}  {cost['float32'] / cost['ours']:.2f}")
    print(f"real tokens per CPU second                    {1 / cost['ours']:.0f}")
    print(f"share of the {best_type()} product rate       {per_token / cost['ours'] / median(rates[1:]):.2f}")
    torch.set_num_threads(usual)


def threads() -> None:
    """Wall time with one thread and with two, alone and beside a process that never rests."""
    usual = torch.get_num_threads()
    for where in ("alone", "with a busy neighbour"):
        busy = [sys.executable, "-c", "while True: pass"]
        neighbour = subprocess.Popen(busy) if where != "alone" else None
        try:
            taken: dict[int, list[float]] = {1: [], 2: []}
            steps = ours()
            for turn in range(2 * ROUNDS + 2):
                count = 1 + turn % 2
                torch.set_num_threads(count)
                before = time.perf_counter()
                tokens = next(steps)
                taken[count].append((time.perf_counter() - before) / tokens)
        finally:
            if neighbour:
                neighbour.kill()
                neighbour.wait()
        ratio = median(taken[1][1:]) / median(taken[2][1:])
        print(f"wall time, 1 thread / 2, {where:21} {ratio:.2f}")
    torch.set_num_threads(usual)


def checkpoint() -> None:
    """Saving the state beside a step, in wall time, because the disk is waited for."""
    base = load_base(SMOLLM2, FOLDER)
    run = TrainingRun(Supervised(), base, PLAN, rows_of(base))
    steps, stepped, saved = iter(run), [], []
    with tempfile.TemporaryDirectory() as scratch:
        for _ in range(ROUNDS + 1):
            stepped.append(_seconds(lambda: next(steps)))
            saved.append(_seconds(lambda: run.save(Path(scratch) / "state.pt")))
    print(f"saving the state / a step, wall time          {median(saved[1:]) / median(stepped[1:]):.3f}")


def memory() -> None:
    """Peak memory of a process that trains ten steps."""
    peaks = {}
    for which in ("ours", "with_trl"):
        command = [sys.executable, __file__, which]
        peaks[which] = int(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)
    share = peaks["ours"] / peaks["with_trl"]
    print(f"peak memory, ours {peaks['ours']} MiB, TRL {peaks['with_trl']} MiB, ours / TRL {share:.2f}")


def peak(which: str) -> None:
    """Train ten steps of ``which`` and print the most memory this process held, in MiB."""
    steps = {"ours": ours, "with_trl": with_trl}[which]()
    for _ in range(10):
        next(steps)
    # Not getrusage: that begins with what the parent process held.
    print(int(re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[0]) // 1024)


def workers() -> None:
    """How long until a new process has the model in memory and has read a token: spawned, and preloaded."""
    taken: dict[str, list[float]] = {"spawn": [], "forkserver": []}
    for method, times in taken.items():
        context = multiprocessing.get_context(method)
        if method == "forkserver":
            context.set_forkserver_preload(PRELOADED)
        for _ in range(4):
            child = context.Process(target=_read_a_token)
            times.append(_seconds(lambda child=child: (child.start(), child.join())))
    ratio = median(taken["forkserver"][1:]) / median(taken["spawn"][1:])
    print(f"a worker from the forkserver / a spawned one  {ratio:.2f}")


def _read_a_token() -> None:
    base = load_base(SMOLLM2, FOLDER)
    with torch.no_grad():
        base.model(torch.tensor([[1]]))


def _seconds(work: Callable[[], object]) -> float:
    before = time.perf_counter()
    work()
    return time.perf_counter() - before


def main() -> None:
    """Measure and print the ratios."""
    logging.disable_progress_bar()
    if len(sys.argv) > 1:
        peak(sys.argv[1])
        return
    for measure in (speeds, threads, checkpoint, memory, workers):
        measure()


if __name__ == "__main__":
    main()
