"""Preferences and reinforcement on the support desk, with SmolLM2: what each wins, costs and breaks.

    python tests/benchmarks/methods.py                  everything below with seeds 0, 1, 2: about an hour
    python tests/benchmarks/methods.py tone 0 1 2       SFT, then DPO for the shop's tone
    python tests/benchmarks/methods.py displaced 0      DPO on wrong answers of a weak model: the alarm
    python tests/benchmarks/methods.py routing 0 1 2    RFT of the base model: a ticket's team in one word

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

from workbench.dataset.dataset import JSON, Dataset
from workbench.dataset.read import read
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
    """The share of greedy answers that each grader passes, by its name."""
    said = answers(base, prompts(base, test), max_tokens=LONGEST)
    return {name: mean(graded(name, said, test)) for name in GRADERS}


def prompts(base: Base, data: Dataset) -> list[list[int]]:
    """What the model reads of each ticket."""
    return [encode_prompt(base.tokenizer, example.prompt) for example in data]


def graded(name: str, said: Sequence[str], test: Dataset) -> list[float]:
    """A grade for each answer by a function of the sample's grader."""
    grade = DESK_GRADERS[name]
    return [grade({"output_text": text}, example.metadata) for text, example in zip(said, test, strict=True)]


# SFT, then DPO on top of it: the shop's tone


def tone(seeds: Sequence[int]) -> Iterator[str]:
    """Print both stages of each seed; give what was promised and does not hold."""
    test, base, found = (
        tickets("test.csv"),
        loaded(),
        list[tuple[dict[str, float], dict[str, float], float]](),
    )
    print("\nSFT on the tickets, then DPO for the shop's tone; shares of 120 held-out answers, greedy")
    print(
        f"{'seed':>4} {'':>4} {'CPU s':>6} {'steps':>5}" + "".join(f"{name:>8}" for name in GRADERS),
        flush=True,
    )
    for seed in seeds:
        with tempfile.TemporaryDirectory() as scratch:
            sft = train(Supervised(), base, tickets(), SFT, seed)
            lora.save_adapter(base.model, ADAPTER, Path(scratch), base_model=SMOLLM2)
            before = scores(base, test)
            _line(seed, "SFT", sft, before)
            dpo = train(Preference(), base, pairs(), TONE, seed, Path(scratch))
            after = scores(base, test)
            _line(seed, "DPO", dpo, after)
            alarm = first_alarm(dpo.steps)
            print(
                f"{'':9} margin {dpo.steps[-1].metrics['train_rewards/margins']:.1f}; "
                f"alarm {f'at step {alarm}' if alarm else 'none'}"
            )
            found.append((before, after, dpo.seconds))
    toned, lost = (
        mean(after["tone"] for _, after, _ in found),
        mean(b["grade"] - a["grade"] for b, a, _ in found),
    )
    slowest = max(seconds for *_, seconds in found)
    print(f"mean: tone {toned:.1%}, task lost {100 * lost:.1f} points; slowest DPO {slowest:.0f} CPU seconds")
    if toned < 0.9 or lost > 0.05 or slowest > 360:
        yield "DPO should bring the tone to 90 %, lose at most 5 points and take at most 360 CPU seconds"


def _line(seed: int, stage: str, trained: Trained, found: Mapping[str, float]) -> None:
    shares = "".join(f"{found[name]:8.1%}" for name in GRADERS)
    print(f"{seed:4} {stage:>4} {trained.seconds:6.0f} {len(trained.steps):5}{shares}", flush=True)


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


# RFT of the base model: the team of a ticket in one word, with example turns in the prompt


TEAM_ONLY = (
    "Name the team for the ticket: delivery, returns, billing, account or products. Answer with one word."
)
TURNS = 2  # tickets of each team that every prompt shows; with one of each too few answers pass to begin with
IS_TEAM: Mapping[str, JSON] = {
    "type": "string_check",
    "name": "team",
    "input": "{{sample.output_text}}",
    "reference": "{{item.team}}",
    "operation": "eq",
}
ROUTING = Recipe(epochs=1, batch_size=6, rows=72, more={"compute_multiplier": 1.0})


def routing(seeds: Sequence[int]) -> Iterator[str]:
    """Print the held-out pass rate before and after; give what was promised and does not hold."""
    base, test, found = loaded(), routed("test.csv"), list[tuple[float, float, float]]()
    asked = [encode_prompt(base.tokenizer, example.messages) for example in test]
    wanted = [str(example.more["team"]) for example in test]

    def passed() -> float:
        said = answers(base, asked, max_tokens=TEAM_TOKENS)
        return mean(text.strip() == team for text, team in zip(said, wanted, strict=True))

    before = passed()
    print("\nRFT on the tickets: the team in one word; shares of 120 held-out answers, greedy")
    for seed in seeds:
        trained = reinforced(base, routed("tickets.csv"), seed)
        after = passed()
        rewards = [step.metrics["train_mean_reward"] for step in trained.steps]
        print(
            f"seed {seed}: {before:.1%} -> {after:.1%}; {len(trained.steps)} steps, {trained.seconds:.0f} "
            f"CPU seconds; reward {rewards[0]:.2f}, of the last three steps {mean(rewards[-3:]):.2f}",
            flush=True,
        )
        found.append((before, after, trained.seconds))
    gained, slowest = mean(after - first for first, after, _ in found), max(each[-1] for each in found)
    print(f"mean: {100 * gained:+.1f} points; slowest {slowest:.0f} CPU seconds")
    if gained < 0.3 or slowest > 360:
        yield "RFT should win 30 points and take at most 360 CPU seconds"


TEAM_TOKENS = 8


def routed(name: str) -> Dataset:
    """Prompts that show short tickets of the training with their teams, and end with another one."""
    known, data = (
        list(read(DESK / file, question="question", reference=["team"], system=TEAM_ONLY))
        for file in ("tickets.csv", name)
    )
    short = [example for example in known if len(example.question) <= SHORT]
    random.Random(0).shuffle(short)
    teams = sorted({str(example.more["team"]) for example in short})
    shown = [
        [example for example in short if example.more["team"] == team][turn]
        for turn in range(TURNS)
        for team in teams
    ]
    turns = [
        message
        for example in shown
        for message in (example.messages[-1], {"role": "assistant", "content": str(example.more["team"])})
    ]
    examples = tuple(
        replace(example, messages=(example.messages[0], *turns, example.messages[-1]))
        for example in data
        if example.origin not in {each.origin for each in shown}
    )
    return Dataset(name, examples)


SHORT = 60  # characters


def reinforced(base: Base, data: Dataset, seed: int) -> Trained:
    """Train the base model by the rewards of its own answers."""
    began = time.process_time()
    job = {
        "method": {"type": "reinforcement", "reinforcement": {"grader": IS_TEAM}},
        "hyperparameters": {"max_completion_tokens": TEAM_TOKENS},
    }
    rows = Reinforcement().encode(base, some(data, ROUTING.rows, seed))
    task = GradedTask(cast(Job, job), base, _nobody)
    run = TrainingRun(Reinforcement(), base, ROUTING.settings(seed), rows, rollouts=task)
    steps = list(run)
    return Trained(time.process_time() - began, steps)


def _nobody(judged: Judged) -> Reply:
    raise AssertionError("a string check asks no model")


PARTS: Mapping[str, Callable[[Sequence[int]], Iterator[str]]] = {
    "tone": tone,
    "displaced": displaced,
    "routing": routing,
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
