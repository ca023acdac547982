"""Preferences and reinforcement on the support desk, with SmolLM2: what each wins, costs and breaks.

    python tests/benchmarks/methods.py                  everything below with seeds 0, 1, 2: about an hour
    python tests/benchmarks/methods.py stages 0 1 2     SFT, then on top of it DPO, and RFT in its place
    python tests/benchmarks/methods.py displaced 0      DPO on wrong answers of a weak model: the alarm

``--sft FOLDER`` keeps the supervised model of ``stages`` there, and takes it from there another time.

One thread, because CPU seconds are counted: ``process_time`` of training, and of what it needs before (the
reference's log-probabilities, sampled answers), without that of grading the test. The test has 120 tickets in
words of their own. Exits with an error when a promise does not hold as the mean of the seeds. The last run of
``stages 0 1 2`` (1 December 2026, from a supervised model of 300 tickets) held all of them: DPO's tone 98.1 %
with 0.8 points of right teams lost, RFT 57.5 points won by ``personal``, each in 236 CPU seconds at most.
"""

import argparse
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
from workbench.evaluation.pair_sources import LOCAL_PAIRS
from workbench.evaluation.pass_rates import LOCAL_PROMPTS
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
GRADERS = ("grade", "tone", "says", "reward", "personal")


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
# What 08_preferences and 09_reinforcement train by, unless told otherwise: 16 steps of pairs, 8 of prompts.
LIKELY = {"beta": 0.1, "l2_multiplier": 0.0, "chosen_likelihood": 0.5}
TONE = Recipe(epochs=1, rows=LOCAL_PAIRS, more=LIKELY)
REWARDED = Recipe(epochs=1, rows=LOCAL_PROMPTS, more={"compute_multiplier": 1.0})


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
    """The mean score of the greedy answers by each grader, by its name."""
    said = answers(base, prompts(base, test), max_tokens=LONGEST)
    return {name: mean(graded(name, said, test)) for name in GRADERS}


def prompts(base: Base, data: Dataset) -> list[list[int]]:
    """What the model reads of each ticket."""
    return [encode_prompt(base.tokenizer, example.prompt) for example in data]


def graded(name: str, said: Sequence[str], test: Dataset) -> list[float]:
    """A grade for each answer by a function of the sample's grader."""
    grade = DESK_GRADERS[name]
    return [grade({"output_text": text}, example.metadata) for text, example in zip(said, test, strict=True)]


# SFT once; then with each seed DPO on top of it for the shop's tone, and in its place RFT


MOST = 360.0  # CPU seconds: three minutes of two cores


def stages(seeds: Sequence[int], kept: Path | None = None) -> Iterator[str]:
    """Print all stages of each seed; give what was promised and does not hold.

    Passed means: by ``personal``, which did not pay. ``kept``: a folder for the supervised model.
    """
    test, base = tickets("test.csv"), loaded()
    print("\nSFT on the tickets, then DPO or RFT on top of it; mean scores of 120 held-out answers, greedy")
    names = "".join(f"{name:>9}" for name in GRADERS)
    print(f"{'seed':>4} {'':>4} {'CPU s':>6} {'steps':>5}{names}", flush=True)
    dpo, rft, seconds = list[Mapping[str, float]](), list[Mapping[str, float]](), list[float]()
    with tempfile.TemporaryDirectory() as scratch:
        start = kept or Path(scratch)
        if (start / "adapter_config.json").exists():
            lora.load_adapter(base.model, ADAPTER, start)
            lora.use(base.model, ADAPTER)
            supervised = Trained(0.0, [])
        else:
            supervised = train(Supervised(), base, tickets(), SFT, seeds[0])
            lora.save_adapter(base.model, ADAPTER, start, base_model=SMOLLM2)
        sft = _line(seeds[0], "SFT", supervised, scores(base, test))
        for seed in seeds:
            preferred = train(Preference(), base, pairs(), TONE, seed, start)
            dpo.append(_line(seed, "DPO", preferred, scores(base, test)))
            alarm = first_alarm(preferred.steps)
            print(f"{'':9} alarm {f'at step {alarm}' if alarm else 'none'}")
            rewarded = reinforced(base, seed, start)
            rft.append(_line(seed, "RFT", rewarded, scores(base, test)))
            seconds += [preferred.seconds, rewarded.seconds]
    toned, lost = mean(one["tone"] for one in dpo), mean(sft["grade"] - one["grade"] for one in dpo)
    gained = mean(one["personal"] - sft["personal"] for one in rft)
    print(
        f"mean: DPO's tone {toned:.1%}, {100 * lost:.1f} points of the task lost; RFT {100 * gained:+.1f} "
        f"points of answers that pass; slowest {max(seconds):.0f} CPU seconds"
    )
    if toned < 0.9 or lost > 0.05:
        yield "DPO should bring the tone to 90 % and lose at most 5 points"
    if gained < 0.3:
        yield "RFT should win 30 points of answers that pass"
    if max(seconds) > MOST:
        yield f"DPO and RFT should take at most {MOST:.0f} CPU seconds"


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
    shares = "".join(f"{share:9.1%}" for share in found.values())
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


def main() -> None:
    """Measure what was asked for; exit with what does not hold."""
    parser = argparse.ArgumentParser(description="What each method wins, costs and breaks.")
    parser.add_argument("part", nargs="?", choices=("stages", "displaced"))
    parser.add_argument("seeds", nargs="*", type=int)
    parser.add_argument("--sft", type=Path, metavar="FOLDER")
    asked = parser.parse_args()
    logging.disable_progress_bar()
    torch.set_num_threads(1)
    seeds = asked.seeds or [0, 1, 2]
    wrong = list(stages(seeds, asked.sft)) if asked.part != "displaced" else []
    wrong += displaced(seeds) if asked.part != "stages" else []
    if wrong:
        sys.exit("\n".join(wrong))


if __name__ == "__main__":
    main()
