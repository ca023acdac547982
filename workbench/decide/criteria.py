"""Microsoft's criteria read off a situation one by one, and which training methods the data allows."""

from collections.abc import Callable
from dataclasses import dataclass

from workbench.decide.situation import Situation, Ternary, all_of, any_of, at_least, below, no, trusted
from workbench.display import table

# Microsoft's criteria, read off a situation one by one: signs that ask for tuning, its uses, what it costs.
#
# The gates decide; this list shows which of the criteria of the two concept pages apply here, and which
# nobody has looked at yet. The shares from which a kind of failure counts as a sign are ours.

FOUNDRY = "Microsoft, Fine-tune models with Azure AI Foundry, 31 Oct 2024"
CONSIDERATIONS = "Microsoft, Azure OpenAI fine-tuning considerations, 26 Mar 2025"
NOTABLE = 0.1  # of the failures: a kind that often is worth naming


@dataclass(frozen=True)
class Criterion:
    """One of them."""

    kind: str
    """``sign``, ``use`` or ``challenge``."""
    name: str
    source: str
    applies: Callable[[Situation], Ternary]


def _fails(*kinds: str) -> Callable[[Situation], Ternary]:
    return lambda situation: at_least(situation.failing(*kinds), NOTABLE)  # type: ignore[arg-type]


def _saves(situation: Situation) -> Ternary:
    return None if situation.motive is None else situation.motive in ("cost", "latency")


def _little_data(situation: Situation) -> Ternary:
    return all_of(below(situation.demonstrations, 100), no(at_least(situation.pairs, 500)))


def _poor_data(s: Situation) -> Ternary:
    faulty = any_of(at_least(s.format_errors, 1), at_least(s.leaks, 1), at_least(s.contradictions, 0.05))
    return any_of(no(s.representative), faulty)


CRITERIA: tuple[Criterion, ...] = (
    Criterion("sign", "it fails on edge cases or exceptions", FOUNDRY, _fails("edge_case")),
    Criterion("sign", "the output is not steadily in the right format", FOUNDRY, _fails("format")),
    Criterion("sign", "enough examples do not fit into the prompt", FOUNDRY, lambda s: no(s.more_shots_fit)),
    Criterion("sign", "latency is high", FOUNDRY, lambda s: s.latency_objective_missed),
    Criterion("use", "a shorter prompt", CONSIDERATIONS, _saves),
    Criterion("use", "style and tone", CONSIDERATIONS, _fails("style")),
    Criterion("use", "formats and schemas", CONSIDERATIONS, _fails("format", "instruction")),
    Criterion("use", "better use of tools", CONSIDERATIONS, _fails("tool_use")),
    Criterion("use", "better use of what is retrieved", CONSIDERATIONS, _fails("context_misused")),
    Criterion(
        "use",
        "a larger model's skill in a smaller one (efficiency, distillation)",
        CONSIDERATIONS,
        lambda s: at_least(s.teacher_score, s.target),
    ),
    Criterion("challenge", "there is little data: hundreds of examples are advised", FOUNDRY, _little_data),
    Criterion("challenge", "the data is faulty or not representative", CONSIDERATIONS, _poor_data),
    Criterion(
        "challenge",
        "training and hosting cost money before anything is saved",
        FOUNDRY,
        lambda s: None if s.motive is None else s.motive == "cost",
    ),
    Criterion(
        "challenge",
        "it has to be repeated when the data changes",
        CONSIDERATIONS,
        lambda s: below(s.task_changes_every_days, 180),
    ),
    Criterion(
        "challenge",
        "it has to be repeated when the base model is retired, within a year",
        CONSIDERATIONS,
        lambda s: below(s.months_of_service, 12),
    ),
    Criterion(
        "challenge",
        "there is no baseline to compare with",
        FOUNDRY,
        lambda s: s.score is None,
    ),
)


@dataclass(frozen=True, repr=False)
class Criteria:
    """Which of them apply."""

    told: tuple[tuple[Criterion, Ternary], ...]

    def __repr__(self) -> str:
        """One line each."""
        return "\n".join(f"{_word(told):<9} {each.kind}: {each.name}" for each, told in self.told)

    def _repr_html_(self) -> str:
        rows = [(each.name, each.kind, _word(told), each.source) for each, told in self.told]
        return table("Microsoft's criteria", ("criterion", "kind", "here", "source"), rows)


def criteria(situation: Situation) -> Criteria:
    """Go through the criteria of the concept pages: which apply here?"""
    return Criteria(tuple((each, each.applies(situation)) for each in CRITERIA))


def _word(told: Ternary) -> str:
    return {True: "yes", False: "no", None: "not known"}[told]


# Which methods the data at hand allows: labelled answers, pairs of answers, or a score that can be computed.
#
# The sizes are those of Microsoft's fine-tuning skill (20 Aug 2026) and OpenAI's guides: SFT from 50
# examples, DPO from 500 pairs, RFT from 100 prompts with a grader that can be trusted.


@dataclass(frozen=True)
class Method:
    """One of them."""

    name: str
    teaches: str
    needs: str
    has: str
    possible: Ternary


@dataclass(frozen=True, repr=False)
class Methods:
    """All of them."""

    methods: tuple[Method, ...]

    def __repr__(self) -> str:
        """A line each."""
        return "\n".join(f"{m.name}: {_word(m.possible)} (needs {m.needs}; {m.has})" for m in self.methods)

    def _repr_html_(self) -> str:
        rows = [(m.name, m.teaches, m.needs, m.has, _word(m.possible)) for m in self.methods]
        return table("What the data allows", ("method", "teaches", "needs", "there is", "possible"), rows)


def methods(situation: Situation) -> Methods:
    """Say for each method what it needs, what there is of it, and whether that is enough."""
    s = situation
    solvable = all_of(at_least(s.pass_rate, 0.05), at_least(0.95, s.pass_rate))
    return Methods(
        (
            Method(
                "SFT",
                "to answer like the examples: formats, rules, a new skill",
                "50 questions with the right answer, better hundreds",
                f"{_counted(s.demonstrations)} examples",
                at_least(s.demonstrations, 50),
            ),
            Method(
                "DPO",
                "to prefer one good answer to another: style, tone, tact",
                "500 pairs of a better and a worse answer",
                f"{_counted(s.pairs)} pairs",
                at_least(s.pairs, 500),
            ),
            Method(
                "RFT",
                "to reason its way to answers that can be scored",
                "a reasoning model, 100 prompts, a grader to be trusted, and samples that sometimes pass",
                f"{_counted(s.prompts)} prompts, grader: {s.grader or 'not known'}",
                all_of(s.reasoning_model, at_least(s.prompts, 100), trusted(s), solvable),
            ),
            Method(
                "Distillation",
                "to do what a larger model does, for less",
                "a larger model that meets the target",
                "not measured" if s.teacher_score is None else f"a larger model at {s.teacher_score:.0%}",
                at_least(s.teacher_score, s.target),
            ),
        )
    )


def _counted(number: int | None) -> str:
    return "not known how many" if number is None else f"{number:,}"
