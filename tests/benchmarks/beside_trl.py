"""A step of DPO beside TRL's DPOTrainer, and one of reinforcement beside its GRPOTrainer.

    python tests/benchmarks/beside_trl.py          about fifteen minutes

On SmolLM2 and the tickets of the support desk. DPO: eight pairs of a friendly and a plain answer a step;
TRL asks its reference in every step, or, as we do, once before the first. Reinforcement: both draw eight
answers of at most eight tokens to each of two prompts, grade them by the same comparison and learn once, with
the same distance to the reference. They take turns inside one process and CPU time is counted, because the
machine's speed drifts and its ratios hold; the median of ``ROUNDS`` steps after one to warm up counts. Peak
memory is that of processes of their own.
"""

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel, TrainerCallback
from transformers.utils import logging

from workbench.dataset.chat_template import both_answers
from workbench.dataset.dataset import Dataset, Example
from workbench.dataset.read import read
from workbench.local.models.bases import SMOLLM2, base_folder
from workbench.local.models.model import Base, best_type, load_base
from workbench.local.training.packing import pack_tree
from workbench.local.training.preference import Preference
from workbench.local.training.reinforcement import KL, GradedTask, GroupRow, Reinforcement
from workbench.local.training.run import RunSettings, TrainingRun
from workbench.local.workers import ENVIRONMENT
from workbench.settings import DATA, home, models_in

os.environ |= ENVIRONMENT  # before torch loads

ROUNDS = 2
PROMPTS, GROUP, LONGEST = 2, 8, 8
SYSTEM = (
    "Which team does the ticket go to? Answer with one word: delivery, returns, billing, account or products."
)
SHOTS = 3
PLAN = RunSettings(
    n_epochs=1,
    batch_size=PROMPTS,
    learning_rate_multiplier=1.0,
    seed=0,
    eval_interval=1000,
    eval_samples=0,
    more={"compute_multiplier": GROUP / 8},
)
QUIETLY: Mapping[str, Any] = {
    "max_steps": 1000,
    "use_cpu": True,
    "bf16": False,
    "gradient_checkpointing": False,
    "disable_tqdm": True,
    "logging_strategy": "no",
    "save_strategy": "no",
    "report_to": [],
    "seed": 0,
}
"""What both of TRL's trainers are told: train on the CPU and write nothing."""
FOLDER = base_folder(SMOLLM2, models_in(home()))
GRADER = {
    "type": "text_similarity",  # in nearly every group its scores differ, so that nearly all are learnt from
    "name": "team",
    "evaluation_metric": "fuzzy_match",
    "input": "{{sample.output_text}}",
    "reference": "{{item.team}}",
}


def tickets() -> Dataset:
    """Prompts with three answered tickets before each, and the team that is right."""
    rows = read(DATA / "support" / "tickets.csv", question="question", answer="team")
    shots = [message for row in rows.examples[: 40 * SHOTS : 40] for message in row.messages]
    system = {"role": "system", "content": SYSTEM}
    return Dataset(
        "tickets",
        tuple(
            Example((system, *shots, row.messages[0]), row.origin, {"team": row.answer})
            for row in rows.examples[200:340]
        ),
    )


def ours() -> Iterator[tuple[int, int]]:
    """Train; yields after every step the tokens read to learn, and those of its answers, each alone."""
    base = load_base(SMOLLM2, FOLDER)
    trainer = Reinforcement()
    method = {"type": "reinforcement", "reinforcement": {"grader": GRADER}}
    job = {"method": method, "hyperparameters": {"max_completion_tokens": LONGEST}}
    task = _Counted(job, base)
    run = TrainingRun(trainer, base, PLAN, trainer.encode(base, tickets()), (), None, task)
    for _ in run:
        yield task.read


class _Counted(GradedTask):
    """The same, and what is read to learn from a step."""

    def __init__(self, job: object, base: Base) -> None:
        super().__init__(job, base, lambda judged: None)  # type: ignore[arg-type]
        self.read = (0, 0)

    def experience(self, base, prompts, plan, number):  # type: ignore[no-untyped-def]
        found = super().experience(base, prompts, plan, number)
        groups: list[GroupRow] = found.rows  # type: ignore[assignment]
        texts = [(*row.tokens, *answer[:-1]) for row in groups for answer in row.answers]
        alone = sum(len(row.tokens) + len(answer) for row in groups for answer in row.answers)
        self.read = pack_tree(texts, base.model.device).ids.numel() if texts else 0, alone
        return found


def with_trl(after_step: Callable[[float], bool]) -> None:
    """The same with TRL's GRPOTrainer; ``after_step`` gets the CPU seconds and says whether to go on."""
    from datasets import Dataset as Rows
    from rapidfuzz import fuzz
    from trl import GRPOConfig, GRPOTrainer

    def reward(completions, team, **_):  # type: ignore[no-untyped-def]
        pairs = zip(completions, team, strict=True)
        return [fuzz.ratio(said[0]["content"].strip(), right) / 100 for said, right in pairs]

    base = load_base(SMOLLM2, FOLDER)
    rows = [{"prompt": list(map(dict, row.messages)), "team": row.more["team"]} for row in tickets()]
    with tempfile.TemporaryDirectory() as scratch:
        settings = GRPOConfig(
            output_dir=scratch,
            per_device_train_batch_size=GROUP,  # a prompt at a time: all at once take 9 GB
            gradient_accumulation_steps=PROMPTS,
            num_generations=GROUP,
            max_completion_length=LONGEST,
            beta=KL,
            learning_rate=Reinforcement.learning_rate,
            **QUIETLY,
        )
        trainer = GRPOTrainer(
            model=_peft_model(),
            reward_funcs=reward,
            args=settings,
            train_dataset=Rows.from_list(rows),
            processing_class=base.tokenizer,
            callbacks=[_clock(after_step)],
        )
        trainer.train()


PAIRS = 8


def pairs() -> Dataset:
    """A friendly and a plain answer to each ticket."""
    table = DATA / "support" / "tickets.csv"
    return read(table, question="question", preferred="friendly", rejected="plain").take(80)


def ours_of_pairs() -> Iterator[None]:
    """Train on pairs; the reference is measured before the first step, which is not counted."""
    base, trainer = load_base(SMOLLM2, FOLDER), Preference()
    plan = replace(PLAN, batch_size=PAIRS, more={"beta": 0.1, "chosen_likelihood": 0.0})
    run = TrainingRun(trainer, base, plan, trainer.encode(base, pairs()))
    for _ in run.measure_reference():
        pass
    for _ in run:
        yield


def pairs_with_trl(after_step: Callable[[float], bool], *, reference_once: bool) -> None:
    """The same with TRL's DPOTrainer; ``after_step`` gets the CPU seconds and says whether to go on."""
    from datasets import Dataset as Rows
    from trl import DPOConfig, DPOTrainer

    base = load_base(SMOLLM2, FOLDER)
    rows = [
        {
            "prompt": list(map(dict, row.prompt)),
            "chosen": list(map(dict, chosen[len(row.prompt) :])),
            "rejected": list(map(dict, rejected[len(row.prompt) :])),
        }
        for row in pairs()
        for chosen, rejected in [both_answers(row)]
    ]
    with tempfile.TemporaryDirectory() as scratch:
        settings = DPOConfig(
            output_dir=scratch,
            per_device_train_batch_size=PAIRS,
            beta=0.1,
            precompute_ref_log_probs=reference_once,
            learning_rate=Preference.learning_rate,
            **QUIETLY,
        )
        trainer = DPOTrainer(
            model=_peft_model(),
            args=settings,
            train_dataset=Rows.from_list(rows),
            processing_class=base.tokenizer,
            callbacks=[_clock(after_step)],
        )
        trainer.train()


def _clock(after_step: Callable[[float], bool]) -> TrainerCallback:
    class Clock(TrainerCallback):
        def on_step_begin(self, args, state, control, **_):  # type: ignore[no-untyped-def]
            self.began = time.process_time()

        def on_step_end(self, args, state, control, **_):  # type: ignore[no-untyped-def]
            control.should_training_stop = not after_step(time.process_time() - self.began)

    return Clock()


def _peft_model() -> PreTrainedModel:
    from peft import LoraConfig, get_peft_model

    targets = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    adapter = LoraConfig(r=8, lora_alpha=16, target_modules=targets, task_type="CAUSAL_LM")
    return get_peft_model(AutoModelForCausalLM.from_pretrained(FOLDER, dtype=best_type()), adapter)


def speeds() -> None:
    """Our steps beside TRL's, with one thread."""
    torch.set_num_threads(1)
    for reference_once in (False, True):
        theirs, mine = _turns(ours_of_pairs(), partial(pairs_with_trl, reference_once=reference_once), [])
        asked = "once" if reference_once else "in every step"
        print(f"a step of DPO, CPU time: TRL, its reference asked {asked}, / ours {theirs / mine:.2f}")
    read = list[tuple[int, int]]()
    theirs, mine = _turns(ours(), with_trl, read)
    together, alone = (sum(counts) for counts in zip(*read, strict=True))
    print(f"a step of reinforcement, CPU time: TRL / ours {theirs / mine:.2f}")
    print(f"CPU seconds a step: ours {mine:.1f}, TRL {theirs:.1f}")
    print(f"tokens read to learn / tokens of the answers alone {together / alone:.3f}")


def _turns(
    steps: Iterator[Any], train: Callable[[Callable[[float], bool]], None], found: list[Any]
) -> tuple[float, float]:
    """The median CPU seconds of a step, TRL's and ours; what our steps yield joins ``found``."""
    seconds: dict[str, list[float]] = {"ours": [], "TRL": []}

    def turn(theirs: float) -> bool:
        seconds["TRL"].append(theirs)
        before = time.process_time()
        found.append(next(steps))
        seconds["ours"].append(time.process_time() - before)
        return len(found) <= ROUNDS

    train(turn)
    return median(seconds["TRL"][1:]), median(seconds["ours"][1:])


MADE: Mapping[str, Callable[[], object]] = {
    "ours of pairs": lambda: [step for _, step in zip(range(2), ours_of_pairs(), strict=False)],
    "TRL's of pairs": lambda: pairs_with_trl(_two_steps(), reference_once=False),
    "ours": lambda: [step for _, step in zip(range(2), ours(), strict=False)],
    "TRL's": lambda: with_trl(_two_steps()),
}
"""Two steps of each kind."""


def _two_steps() -> Callable[[float], bool]:
    made = iter((True, False))
    return lambda _: next(made)


def memory() -> None:
    """Peak memory of processes that make two steps."""
    peaks = {}
    for which in MADE:
        command = [sys.executable, __file__, which]
        peaks[which] = int(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)
    for what, kind in (("DPO", " of pairs"), ("reinforcement", "")):
        mine, theirs = peaks[f"ours{kind}"], peaks[f"TRL's{kind}"]
        print(f"{what}: peak memory, ours {mine} MiB, TRL {theirs} MiB, ours / TRL {mine / theirs:.2f}")


def peak(which: str) -> None:
    """Make two steps of ``which`` and print the most memory this process held, in MiB."""
    torch.set_num_threads(1)
    MADE[which]()
    # Not getrusage: that begins with what the parent process held.
    print(int(re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[0]) // 1024)


def main() -> None:
    """Measure and print the ratios."""
    logging.disable_progress_bar()
    if len(sys.argv) > 1:
        peak(sys.argv[1])
        return
    speeds()
    memory()


if __name__ == "__main__":
    main()
