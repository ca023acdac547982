"""Rehearsal against forgetting: some of what the base model says anyway, mixed into the training data.

A model that is trained on one task alone forgets others. Rows of the base model's own answers to everyday
prompts keep it close to what it was: self-synthesized rehearsal (Huang et al. 2024, arXiv 2403.01244) and
self-distillation (Yang et al. 2024, arXiv 2402.13669). It is only data, so every service trains on it.

Answers are asked greedily and without an instruction. No prompt is a probe or a test question, nor
nearly one: what measures forgetting is never trained on. A harmful prompt stays only where the base
model declines.
"""

import math
import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from workbench.dataset.dataset import Dataset, Example, counted
from workbench.dataset.read import read
from workbench.display import Shown, Table
from workbench.errors import DataError
from workbench.evaluation.probes import Forgetting
from workbench.evaluation.requests import Answer, Request, ResponseCache, ask
from workbench.project import JSON, Project
from workbench.settings import DATA

if TYPE_CHECKING:
    from openai import OpenAI

LONGEST = 60  # tokens of an answer: each is learnt, and costs as much as one of the task's own
HARMFUL = "safety"  # the category of prompts that a model should decline
SHOWN = 10

# What each way did to the sample: tests/benchmarks/rehearsal.py; figures are in data/README.md.
CURES = (
    (
        "rehearsal",
        "REHEARSAL = 0.6 in 03_build_data",
        "90 to 94 % as many right as the base model (three seeds), without it 40 %",
        "93.3 to 95.0 %, without it 93.3 %",
        "215 answers of the base model, and 60 % more rows to train on",
    ),
    (
        "an earlier checkpoint",
        "another one in 05_loss_curves",
        "39 % after two of three epochs, 33 % after one: no cure here",
        "70.8 % and 45.8 %",
        "nothing; the checkpoints are kept",
    ),
    (
        "a smaller learning rate",
        "learning_rate_multiplier in 04_launch",
        "84 % at half the rate and with the same rehearsal: no cure here",
        "74.2 %; it may need more epochs",
        "another training job",
    ),
)
_SENTENCE_END = re.compile(r"[.!?][\"')\]]*(?=\s|$)|\n")


@dataclass(frozen=True, repr=False)
class Rehearsal(Shown):
    """Rows of the base model's own answers, to be mixed into training data."""

    rows: Dataset
    """Prompt and answer, without an instruction; ``metadata`` says which model answered."""
    share: float
    """Rows for each example of the task: 0.2 is 20 for 100."""
    wanted: int
    """How many rows the share asks for; there are fewer where the prompts did not suffice."""
    model: str
    left_out: Mapping[str, int]
    """Why prompts were not used, and how many."""

    @property
    def verdict(self) -> str:
        """Say what was made, and what was left out."""
        if not self.share:
            return f"No rehearsal: {self.model} learns from the task's examples alone."
        rows = counted(len(self.rows), "row")
        made = f"{rows} of what {self.model} says itself ({100 * self.share:g} for 100 examples of the task)"
        missing = f"; {self.wanted:,} were asked for, and there are no more prompts"
        few = missing if len(self.rows) < self.wanted else ""
        left = "; ".join(f"{number} left out: {why}" for why, number in self.left_out.items())
        return f"{made}{few}.{' ' + left + '.' if left else ''}"

    @property
    def facts(self) -> dict[str, JSON]:
        """What the record keeps of it."""
        return {
            "share": self.share,
            "rows": len(self.rows),
            "model": self.model,
            "prompts": self.rows.name,
            "sha256": self.rows.sha256,
        }

    def tables(self) -> Iterator[Table]:
        """How many rows of each category, and some of them."""
        by_category = Counter(_category(row) for row in self.rows)
        yield self.verdict, ("prompts", "rows"), sorted(by_category.items()) if self.rows else []
        some = [(row.origin, row.question, row.answer) for row in self.rows][:SHOWN]
        yield f"the first {len(some)} rows", ("origin", "prompt", "the model's own answer"), some

    def mixed_into(self, training: Dataset) -> Dataset:
        """The training data with these rows, spread evenly: services need not shuffle."""
        if not self.rows:
            return training
        places = [
            (number / max(1, len(data)), order)
            for order, data in enumerate((training, self.rows))
            for number in range(len(data))
        ]
        sources = [iter(training), iter(self.rows)]
        examples = tuple(next(sources[order]) for _, order in sorted(places))
        return replace(training, name=f"{training.name} with rehearsal", examples=examples)


def read_prompts(path: str | Path | None = None) -> Dataset:
    """Read everyday prompts; ``None`` is the set that comes with the workbench.

    Your own are a table with the column ``prompt`` and, if you like, ``category``, where ``safety`` marks
    prompts that should be declined.
    """
    return read(path or DATA / "rehearsal" / "prompts.csv", question="prompt", answer="prompt")


def rehearse(
    client: "OpenAI",
    model: str,
    examples: Dataset,
    share: float | None,
    *,
    prompts: Dataset | None = None,
    never: Sequence[Dataset] = (),
    seed: int = 0,
    concurrency: int = 32,
    cache: str | Path | ResponseCache | None = None,
) -> Rehearsal:
    """Ask the base ``model`` everyday prompts, as many as ``share`` of the ``examples`` of the task.

    ``never`` holds what must not be trained on, the test and the probes: a prompt that is in it, or nearly,
    is left out. The ``seed`` chooses the prompts, all categories alike; a larger share has those of a
    smaller one and more. ``cache`` keeps the answers.

    A share of 0 or ``None`` asks nothing. Raises ``DataError`` for a share that is none, for examples that
    do not teach by demonstration, and the client's own errors.
    """
    if share is not None and not 0 <= share <= 1:
        raise DataError(f"rehearsal is {share:g}; give a share from 0 to 1, such as 0.2: 20 rows for 100.")
    methods = {example.method for example in examples}
    if share and methods != {"sft"}:
        raise DataError(
            f"{examples.name} is for {' and '.join(sorted(methods))}; rehearsal is made of answers, so it "
            "goes with examples that end with the answer to learn."
        )
    share = share or 0.0
    asked = read_prompts() if prompts is None else prompts
    if not share:
        return Rehearsal(asked.take(0), 0.0, 0, model, {})
    shared = among(asked, never)
    left_out = Counter[str]()
    if shared:
        left_out["asked by the test or the probes as well"] = len(shared)
    wanted = max(1, round(share * len(examples)))
    waiting = _in_order(asked.without(shared), seed)
    rows: list[Example] = []
    kept = cache if isinstance(cache, ResponseCache) else ResponseCache(cache)
    while waiting and len(rows) < wanted:
        number = wanted - len(rows)
        some, waiting = waiting[:number], waiting[number:]
        requests = [Request(model, prompt.prompt, LONGEST, 0.0) for prompt in some]
        with closing(ask(client, requests, concurrency=concurrency, cache=kept)) as answers:
            answered = dict(answers)
        for place, prompt in enumerate(some):
            said, why = _usable(answered[place], prompt)
            if why:
                left_out[why] += 1
                continue
            answer = {"role": "assistant", "content": said}
            metadata = {**prompt.metadata, "rehearsal": f"answered by {model}"}
            rows.append(replace(prompt, messages=(*prompt.prompt, answer), metadata=metadata))
    return Rehearsal(replace(asked, examples=tuple(rows)), share, wanted, model, dict(left_out))


def among(prompts: Dataset, others: Sequence[Dataset]) -> frozenset[str]:
    """The origins of prompts that one of the others asks too, word for word or nearly.

    Nearly is as for training data: 70 % of their three-word pieces in common.
    """
    from workbench.dataset.check.duplicates import NEAR  # loads numpy
    from workbench.dataset.check.minhash import jaccard, normalised, pieces

    asked = [example.question for other in others for example in other]
    exact = {normalised(question) for question in asked}
    holding = defaultdict[int, list[frozenset[int]]](list)
    for known in map(pieces, asked):
        for piece in known:
            holding[piece].append(known)
    found = set[str]()
    for prompt in prompts:
        mine = pieces(prompt.question)
        close = {other for piece in mine for other in holding.get(piece, ())}
        if normalised(prompt.question) in exact or any(jaccard(mine, other) >= NEAR for other in close):
            found.add(prompt.origin)
    return frozenset(found)


def _in_order(prompts: Dataset, seed: int) -> list[Example]:
    """Shuffled, each category spread evenly from first to last."""
    by_category = defaultdict[str, list[Example]](list)
    for prompt in {prompt.question: prompt for prompt in prompts}.values():
        by_category[_category(prompt)].append(prompt)
    placed: list[tuple[float, str, Example]] = []
    for name, members in sorted(by_category.items()):
        random.Random(f"{seed} {name}").shuffle(members)
        placed += [((number + 0.5) / len(members), name, member) for number, member in enumerate(members)]
    return [member for _, _, member in sorted(placed, key=lambda each: each[:2])]


def _usable(answer: Answer, prompt: Example) -> tuple[str, str]:
    """What of an answer is trained on, or why nothing: one that was cut off ends at a whole sentence."""
    from workbench.dataset.check.texts import is_refusal

    said = answer.text.strip()
    if answer.problem or answer.refusal:
        return "", "the service did not let the model answer"
    if answer.finish_reason == "length":
        ends = [found.end() for found in _SENTENCE_END.finditer(said)]
        said = said[: ends[-1]].strip() if ends else ""
        said = "" if said.count("```") % 2 else said  # code that nobody ends
    if not said:
        return "", f"no whole sentence in {LONGEST} tokens"
    if _category(prompt) == HARMFUL and not is_refusal(said):
        return "", "harmful, and not declined"
    return said, ""


def _category(prompt: Example) -> str:
    return str(prompt.metadata.get("category", ""))


# What each run of a project kept and learnt, so that a cure is chosen by what was measured.


class MeasuredRun(NamedTuple):
    """A tuned model that was judged on its task and on the probes."""

    number: int
    """Of the judgement in this project, from 1."""
    share: float
    """Rehearsal rows for each example of the task."""
    hyperparameters: Mapping[str, JSON]
    probes: float
    """The share of the probes that it answers right."""
    base: float
    """The same of the base model."""
    items: int
    """How many probes there were."""
    task: float
    """Its score on the task."""
    seconds: float
    """Of training; ``nan`` where the service does not tell."""

    @property
    def trained(self) -> str:
        """How long it was trained, in words."""
        return "not known" if math.isnan(self.seconds) else f"{self.seconds:.0f} s"

    @property
    def kept(self) -> float:
        """How much of what the base model answered it answers, as a share; 1 where there was nothing."""
        return self.probes / self.base if self.base else 1.0


def measured_runs(project: Project) -> tuple[MeasuredRun, ...]:
    """The tuned models of a project that 06_evaluate asked the probes, the oldest first."""
    jobs = {entry.facts.get("job_id"): entry.facts for entry in project.entries("job")}
    data = {entry.facts.get("training_sha256"): entry.facts for entry in project.entries("dataset")}
    latest: dict[str, MeasuredRun] = {}
    for entry in project.entries("comparison"):
        probed = entry.facts.get("forgetting")
        if not isinstance(probed, Mapping):
            continue
        job = jobs.get(entry.facts.get("job_id"), {})
        mixed = data.get(job.get("training_sha256"), {}).get("rehearsal")
        chosen = job.get("hyperparameters")
        model = str(entry.facts.get("tuned_model"))
        latest[model] = MeasuredRun(
            len(latest) + 1 if model not in latest else latest[model].number,
            _number(mixed.get("share")) if isinstance(mixed, Mapping) else 0.0,
            chosen if isinstance(chosen, Mapping) else {},
            _number(probed.get("tuned")) / max(1.0, _number(probed.get("items"))),
            _number(probed.get("base")) / max(1.0, _number(probed.get("items"))),
            int(_number(probed.get("items"))),
            _number(entry.facts.get("tuned_score")),
            _number(entry.facts.get("training_seconds")),
        )
    return tuple(latest.values())


def _number(value: JSON) -> float:
    return float(value) if isinstance(value, int | float) else math.nan


@dataclass(frozen=True, repr=False)
class Cure(Shown):
    """What can be done where probes were lost, and what each keeps and costs."""

    forgetting: Forgetting
    runs: tuple[MeasuredRun, ...] = ()
    share: float = 0.0
    """Rehearsal rows for each example in the data that the model was trained on."""

    @property
    def verdict(self) -> str:
        """Whether there is something to cure, and what to do first."""
        found = self.forgetting.whole.comparison
        base, tuned = found.base.correct, found.tuned.correct
        kept = f"The tuned model answers {tuned:,} probes right, the base model {base:,}"
        if not self.is_needed:
            return f"{kept}. Nothing needs a cure."
        if self.share >= 1:
            return (
                f"{kept}, with a rehearsal of {self.share:g} already, which is the most. To keep more, take "
                "an earlier checkpoint (05_loss_curves) or a smaller learning_rate_multiplier (04_launch)."
            )
        more = f"more than {self.share:g}" if self.share else "0.2 or more"
        return (
            f"{kept}. To keep more of what the base model can, mix its own answers into the training data: "
            f"set REHEARSAL to {more} in 03_build_data, then run 03 to 06 again."
        )

    @property
    def is_needed(self) -> bool:
        """Whether more was lost than gained, and not shown to be within the margin."""
        found = self.forgetting.whole.comparison
        lost = bool(self.forgetting.lost) or found.tuned.correct < found.base.correct
        return lost and self.forgetting.outcome != "not worse"

    def tables(self) -> Iterator[Table]:
        """The ways with what they did to the sample, then this project's own runs."""
        columns = ("cure", "what to set", "probes kept", "task", "what it costs")
        yield self.verdict, columns, CURES if self.is_needed else []
        rows = [
            (
                run.number,
                f"{run.share:g}",
                ", ".join(f"{name} {value}" for name, value in run.hyperparameters.items()),
                f"{run.probes:.1%} of {run.items:,} (base {run.base:.1%})",
                f"{run.task:.1%}",
                run.trained,
            )
            for run in self.runs
        ]
        yield (
            "Runs of this project",
            ("run", "rehearsal", "set", "probes right", "task right", "trained"),
            rows,
        )


def cure(forgetting: Forgetting, project: Project | None = None) -> Cure:
    """What to do against what was forgotten; with ``project`` beside what its runs measured."""
    mixed = None if project is None else _training_data(project).get("rehearsal")
    share = _number(mixed.get("share")) if isinstance(mixed, Mapping) else 0.0
    return Cure(forgetting, () if project is None else measured_runs(project), share)


def _training_data(project: Project) -> Mapping[str, JSON]:
    """The facts of the data that the newest supervised job was trained on; without a job, of the newest."""
    kept, job = project.entries("dataset"), project.latest_job()
    wanted = None if job is None else job.facts.get("training_sha256")
    found = [data for data in kept if wanted in (None, data.facts.get("training_sha256"))]
    return found[-1].facts if found else {}
