"""Preferences and reinforcement on the support desk, with SmolLM2: what each wins, costs and breaks.

    python tests/benchmarks/methods.py                  everything below with seeds 0, 1, 2: about an hour
    python tests/benchmarks/methods.py stages 0 1 2     SFT, then on top of it DPO, and RFT in its place
    python tests/benchmarks/methods.py displaced 0      DPO on wrong answers of a weak model: the alarm

One thread, because CPU seconds are counted: ``process_time`` of training, and of what it needs before (the
reference's log-probabilities, sampled answers), without that of grading the test. The test has 120 tickets in
words of their own. Exits with an error when a promise does not hold as the mean of the seeds.
"""

import os
import random
import runpy
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import NamedTuple, cast

import pandas as pd
import torch
from transformers.utils import logging

from workbench.dataset.dataset import Dataset
from workbench.dataset.read import read
from workbench.evaluation.graders import ready_made
from workbench.evaluation.graders.judges import Judged, Reply
from workbench.local.chat_protocol import Sampling
from workbench.local.inference.batch import Asked, answers, write
from workbench.local.models import lora
from workbench.local.models.bases import SMOLLM2, base_folder
from workbench.local.models.model import Base, encode_prompt, load_base
from workbench.local.store.rows import Job
from workbench.local.training.preference import Preference
from workbench.local.training.reinforcement import GradedTask, Reinforcement
from workbench.local.training.run import ADAPTER, RunSettings, Trainer, TrainingRun, TrainingStep
from workbench.local.training.supervised import Supervised
from workbench.local.training.training_worker import BEFORE
from workbench.local.workers import ENVIRONMENT
from workbench.settings import DATA, home, models_in
from workbench.training.curve import Curve
from workbench.training.reward_rules import likelihood_displacement

os.environ |= ENVIRONMENT  # before torch loads

DESK = DATA / "support"
DESK_GRADERS = runpy.run_path(str(DESK / "support.py"))
SYSTEM = "Route the ticket and answer it."
LONGEST = 48  # tokens of an answer
GRADERS = ("grade", "tone", "says", "valid")
READY = "ready"  # the right team and the shop's tone


class Recipe(NamedTuple):
    """What a run is asked for; steps are a share of an epoch or some epochs, as the rows allow."""

    epochs: int
    batch_size: int = 8
    rate: float = 1.0
    """The learning rate's multiplier."""
    more: Mapping[str, float] = {}
    rows: int | None = None
    """So many of the rows, drawn by the seed; ``None``: all."""

    def settings(self, seed: int) -> RunSettings:
        """As a job of this seed is told."""
        return RunSettings(self.epochs, self.batch_size, self.rate, seed, 10_000, 0, dict(self.more))


SFT = Recipe(epochs=3)
# 64 pairs, 8 steps. In a run of 16 steps all of 60 held-out training tickets had the tone after the 8th.
TONE = Recipe(epochs=1, rate=1.0, rows=64, more={"beta": 0.1, "l2_multiplier": 0.0, "chosen_likelihood": 0.5})


def tickets(name: str = "tickets.csv") -> Dataset:
    """Tickets with the answers of then."""
    return read(DESK / name, question="question", answer="answer", system=SYSTEM)


def pairs() -> Dataset:
    """The same tickets with the answer in the shop's tone, and beside it the plain one."""
    return read(
        DESK / "tickets.csv", question="question", preferred="friendly", rejected="plain", system=SYSTEM
    )


def some(dataset: Dataset, count: int | None, seed: int) -> Dataset:
    """So many examples, drawn by the seed."""
    if count is None or count >= len(dataset):
        return dataset
    return replace(dataset, examples=tuple(random.Random(seed).sample(list(dataset), count)))


def loaded() -> Base:
    """The base model."""
    return load_base(SMOLLM2, base_folder(SMOLLM2, models_in(home())))


class Trained(NamedTuple):
    """A run that is over."""

    seconds: float
    """Of CPU."""
    steps: list[TrainingStep]


def train(
    trainer: Trainer, base: Base, data: Dataset, recipe: Recipe, seed: int, start: Path | None = None
) -> Trained:
    """Train a fresh adapter, or go on from that in ``start``; it stays active in ``base``."""
    began = time.process_time()
    rows = trainer.encode(base, some(data, recipe.rows, seed))
    run = TrainingRun(trainer, base, recipe.settings(seed), rows)
    if start:
        lora.copy_adapter(base.model, ADAPTER, start)
    steps = list(run)
    return Trained(time.process_time() - began, steps)


def scores(base: Base, test: Dataset) -> dict[str, float]:
    """The share of greedy answers that each grader passes, by its name; and that have team and tone right."""
    said = answers(base, prompts(base, test), max_tokens=LONGEST)
    found = {name: graded(name, said, test) for name in GRADERS}
    both = [team * tone for team, tone in zip(found["grade"], found["tone"], strict=True)]
    return {name: mean(grades) for name, grades in found.items()} | {READY: mean(both)}


def prompts(base: Base, data: Dataset) -> list[list[int]]:
    """What the model reads of each ticket."""
    return [encode_prompt(base.tokenizer, example.prompt) for example in data]


def graded(name: str, said: Sequence[str], test: Dataset) -> list[float]:
    """A grade for each answer by a function of the sample's grader."""
    grade = DESK_GRADERS[name]
    return [grade({"output_text": text}, example.metadata) for text, example in zip(said, test, strict=True)]


# SFT, then DPO on top of it for the shop's tone; and in its place RFT, which is paid for team, tone and fact


class Stages(NamedTuple):
    """What each stage of one seed reached: shares of the test by grader, and CPU seconds."""

    sft: Mapping[str, float]
    dpo: Mapping[str, float]
    rft: Mapping[str, float]
    seconds: float
    """Of the slower of the two."""


def stages(seeds: Sequence[int]) -> Iterator[str]:
    """Print all stages of each seed; give what was promised and does not hold."""
    test, base = tickets("test.csv"), loaded()
    print("\nSFT on the tickets, then DPO or RFT on top of it; shares of 120 held-out answers, greedy")
    names = "".join(f"{name:>8}" for name in (*GRADERS, READY))
    print(f"{'seed':>4} {'':>4} {'CPU s':>6} {'steps':>5}{names}", flush=True)
    found = []
    for seed in seeds:
        with tempfile.TemporaryDirectory() as scratch:
            start = Path(scratch)
            sft = _line(seed, "SFT", train(Supervised(), base, tickets(), SFT, seed), scores(base, test))
            lora.save_adapter(base.model, ADAPTER, start, base_model=SMOLLM2)
            trained = train(Preference(), base, pairs(), TONE, seed, start)
            dpo, alarm = _line(seed, "DPO", trained, scores(base, test)), first_alarm(trained.steps)
            print(f"{'':9} alarm {f'at step {alarm}' if alarm else 'none'}")
            rewarded = reinforced(base, seed, start)
            rft = _line(seed, "RFT", rewarded, scores(base, test))
            found.append(Stages(sft, dpo, rft, max(trained.seconds, rewarded.seconds)))
    toned, lost = (
        mean(one.dpo["tone"] for one in found),
        mean(one.sft["grade"] - one.dpo["grade"] for one in found),
    )
    gained, slowest = (
        mean(one.rft[READY] - one.sft[READY] for one in found),
        max(one.seconds for one in found),
    )
    print(
        f"mean: DPO's tone {toned:.1%}, {100 * lost:.1f} points of the task lost; RFT {100 * gained:+.1f} "
        f"points of answers with team and tone; slowest {slowest:.0f} CPU seconds"
    )
    if toned < 0.9 or lost > 0.05 or slowest > 360:
        yield "DPO should bring the tone to 90 %, lose at most 5 points and take at most 360 CPU seconds"
    if gained < 0.3:
        yield "RFT should win 30 points of answers with the right team in the shop's tone"


REWARDED = Recipe(epochs=1, batch_size=6, rows=36, more={"compute_multiplier": 1.0})


def reinforced(base: Base, seed: int, start: Path) -> Trained:
    """Train the model in ``start`` further by the rewards of its own answers."""
    began = time.process_time()
    grader = ready_made.grader(str(DESK / "support.py:reward"))
    job = {
        "method": {"type": "reinforcement", "reinforcement": {"grader": grader}},
        "hyperparameters": {"max_completion_tokens": LONGEST},
    }
    known = read(DESK / "tickets.csv", question="question", reference=["team", "says"], system=SYSTEM)
    rows = Reinforcement().encode(base, some(known, REWARDED.rows, seed))
    task = GradedTask(cast(Job, job), base, _nobody)
    run = TrainingRun(Reinforcement(), base, REWARDED.settings(seed), rows, rollouts=task)
    lora.copy_adapter(base.model, ADAPTER, start)
    lora.load_adapter(base.model, BEFORE, start)
    run.reference_adapter = BEFORE
    lora.use(base.model, ADAPTER)
    steps = list(run)
    return Trained(time.process_time() - began, steps)


def _nobody(judged: Judged) -> Reply:
    raise AssertionError("this grader asks no model")


def _line(seed: int, stage: str, trained: Trained, found: Mapping[str, float]) -> Mapping[str, float]:
    shares = "".join(f"{share:8.1%}" for share in found.values())
    print(f"{seed:4} {stage:>4} {trained.seconds:6.0f} {len(trained.steps):5}{shares}", flush=True)
    return found


def first_alarm(steps: Sequence[TrainingStep]) -> int | None:
    """The first step after which the alarm for likelihood displacement is raised, as it trains."""
    rows = [
        {"step": step.number} | {_plain(name): value for name, value in step.metrics.items()}
        for step in steps
    ]
    table = pd.DataFrame(rows).set_index("step")
    return next((at for at in table.index if likelihood_displacement(Curve(table.loc[:at]))), None)


def _plain(column: str) -> str:
    return column if column == "train_loss" else column.removeprefix("train_")


# The recipe that is known to be bad: a weak model's own wrong answers are rejected


WEAK = Recipe(epochs=1, batch_size=4, rate=1.5, rows=92)
BAD = Recipe(
    epochs=1, batch_size=4, rows=48, more={"beta": 0.1, "l2_multiplier": 0.0, "chosen_likelihood": 0.0}
)


def displaced(seeds: Sequence[int]) -> Iterator[str]:
    """Print what it does to the queries of a model that was hardly tuned; the alarm should be raised."""
    folder = DATA / "gql"
    grade = runpy.run_path(str(folder / "gql.py"))["grade"]
    rows, test = (
        read(folder / name, answer="query", system="Always return GQL.") for name in ("pairs.csv", "test.csv")
    )
    base = loaded()
    print("\nDPO on a weak model's own wrong queries; right ones of 120 held out, greedy")
    for seed in seeds:
        train(Supervised(), base, rows, WEAK, seed)
        with tempfile.TemporaryDirectory() as scratch:
            lora.save_adapter(base.model, ADAPTER, Path(scratch), base_model=SMOLLM2)
            shares = [right(base, test, grade)]
            wrong = wrong_samples(base, some(rows, 64, seed), grade, seed)
            dpo = train(Preference(), base, wrong, BAD, seed, Path(scratch))
            shares.append(right(base, test, grade))
        last, alarm = dpo.steps[-1].metrics, first_alarm(dpo.steps)
        print(
            f"seed {seed}: {shares[0]:.1%} -> {shares[1]:.1%} in {len(dpo.steps)} steps; margin "
            f"{last['train_rewards/margins']:+.2f}, chosen {last['train_rewards/chosen']:+.2f}; "
            f"alarm {f'at step {alarm}' if alarm else 'none'}",
            flush=True,
        )
        if alarm is None:
            yield f"the alarm for likelihood displacement is not raised with seed {seed}"


def right(base: Base, test: Dataset, grade: Callable[..., float]) -> float:
    """The share of greedy answers that are graded right."""
    said = answers(base, prompts(base, test), max_tokens=LONGEST)
    return mean(
        grade({"output_text": text}, {"answer": example.answer})
        for text, example in zip(said, test, strict=True)
    )


def wrong_samples(base: Base, data: Dataset, grade: Callable[..., float], seed: int) -> Dataset:
    """Pairs of the right answer and a sampled one that is wrong, for the examples that have such."""
    said = sampled(base, prompts(base, data), seed)
    made = [
        replace(
            example,
            messages=example.messages[:-1],
            more={
                "preferred_output": [example.messages[-1]],
                "non_preferred_output": [{"role": "assistant", "content": text}],
            },
        )
        for example, text in zip(data, said, strict=True)
        if text and not grade({"output_text": text}, {"answer": example.answer})
    ]
    return Dataset("a weak model's wrong answers", tuple(made))


def sampled(base: Base, prompts: Sequence[Sequence[int]], seed: int) -> list[str]:
    """One answer to each prompt, drawn at temperature 1.2."""
    asked = [
        Asked(tuple(prompt), Sampling(temperature=1.2, seed=1000 * seed + number))
        for number, prompt in enumerate(prompts)
    ]
    written = write(base, asked, max_tokens=LONGEST)
    return [base.text([token for token in said if token not in base.stop_tokens]).strip() for said in written]


PARTS: Mapping[str, Callable[[Sequence[int]], Iterator[str]]] = {
    "stages": stages,
    "displaced": displaced,
}


def main() -> None:
    """Measure what was asked for; exit with what does not hold."""
    logging.disable_progress_bar()
    torch.set_num_threads(1)
    seeds = [int(word) for word in sys.argv[1:] if word.isdigit()] or [0, 1, 2]
    parts = [word for word in sys.argv[1:] if not word.isdigit()] or list(PARTS)
    wrong = [finding for part in parts for finding in PARTS[part](seeds)]
    if wrong:
        sys.exit("\n".join(wrong))


if __name__ == "__main__":
    main()
