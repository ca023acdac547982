"""Microsoft's criteria and claims held against a situation, and which methods its data allows."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from workbench.decide.rules import (
    ARXIV,
    AZURE_RFT,
    CONSIDERATIONS,
    DISPLACEMENT,
    FOUNDRY,
    GEKHMAN,
    LEARN,
    OPENAI_RFT,
    OPENAI_SFT,
    OUT_OF_FORM,
    OVADIA,
    SKILL,
    ZEPHYR,
    Reference,
)
from workbench.decide.situation import (
    Situation,
    Ternary,
    all_of,
    any_of,
    at_least,
    below,
    no,
    out_of_form,
    takes_a_grader,
    to_save,
    trusted,
)
from workbench.decide.wording import counted, high, percent, points, preferences_so_far, samples, yes_or_no
from workbench.display import folded, table

if TYPE_CHECKING:
    from workbench.decide.payback import Payback

# Microsoft's criteria, read off a situation one by one: signs that ask for tuning, its uses, what it costs.
#
# The rules decide; this list shows which of the criteria of the two concept pages apply here, and which
# are not known yet. The shares from which a kind of failure counts as a sign are ours.

NOTABLE = 0.1  # of the failures: a kind that often is worth naming


@dataclass(frozen=True)
class Aspect:
    """What the pages name: a sign that asks for tuning, a use of it, or a challenge."""

    kind: str
    """``sign``, ``use`` or ``challenge``."""
    name: str
    source: Reference
    applies: Callable[[Situation], Ternary]


def _fails(*kinds: str) -> Callable[[Situation], Ternary]:
    return lambda situation: at_least(situation.failing(*kinds), NOTABLE)  # type: ignore[arg-type]


def _little_data(situation: Situation) -> Ternary:
    return all_of(below(situation.demonstrations, 100), no(at_least(situation.pairs, 500)))


def _poor_data(s: Situation) -> Ternary:
    faulty = any_of(at_least(s.format_errors, 1), at_least(s.leaks, 1), at_least(s.contradictions, 0.05))
    return any_of(no(s.representative), faulty)


CRITERIA: tuple[Aspect, ...] = (
    Aspect("sign", "it fails on edge cases or exceptions", FOUNDRY, _fails("edge_case")),
    Aspect("sign", "the output is not steadily in the right format", FOUNDRY, _fails("format")),
    Aspect("sign", "enough examples do not fit into the prompt", FOUNDRY, lambda s: no(s.more_shots_fit)),
    Aspect("sign", "latency is high", FOUNDRY, lambda s: s.latency_objective_missed),
    Aspect("use", "a shorter prompt", CONSIDERATIONS, to_save),
    Aspect("use", "style and tone", CONSIDERATIONS, _fails("style")),
    Aspect("use", "formats and schemas", CONSIDERATIONS, _fails("format", "instruction")),
    Aspect("use", "better use of tools", CONSIDERATIONS, _fails("tool_use")),
    Aspect("use", "better use of what is retrieved", CONSIDERATIONS, _fails("context_misused")),
    Aspect(
        "use",
        "a larger model's skill in a smaller one (efficiency, distillation)",
        CONSIDERATIONS,
        lambda s: at_least(s.teacher_score, s.target),
    ),
    Aspect("challenge", "there is little data: hundreds of examples are advised", FOUNDRY, _little_data),
    Aspect("challenge", "the data is faulty or not representative", CONSIDERATIONS, _poor_data),
    Aspect(
        "challenge",
        "training and hosting cost money before anything is saved",
        FOUNDRY,
        lambda s: None if s.motive is None else s.motive == "cost",
    ),
    Aspect(
        "challenge",
        "it has to be repeated when the data changes",
        CONSIDERATIONS,
        lambda s: below(s.task_changes_every_days, 180),
    ),
    Aspect(
        "challenge",
        "it has to be repeated when the base model is retired, within a year",
        CONSIDERATIONS,
        lambda s: below(s.months_of_service, 12),
    ),
    Aspect("challenge", "there is no baseline to compare with", FOUNDRY, lambda s: s.score is None),
)


@dataclass(frozen=True, repr=False)
class Criteria:
    """Which of them apply."""

    situation: Situation
    answers: tuple[tuple[Aspect, Ternary], ...]

    def claims(self, tokens: Mapping[str, float] | None = None, money: "Payback | None" = None) -> "Claims":
        """What the two pages claim, what is known of it, and what was measured here.

        ``tokens`` are the mean tokens of ``long_prompt``, ``short_prompt`` and ``answer``.
        """
        return Claims(tuple(_claims(self.situation, tokens or {}, money)))

    def __repr__(self) -> str:
        """One line each."""
        return "\n".join(f"{yes_or_no(answer):<9} {each.kind}: {each.name}" for each, answer in self.answers)

    def _repr_html_(self) -> str:
        rows = [(each.name, each.kind, yes_or_no(answer), each.source.title) for each, answer in self.answers]
        columns = ("criterion", "kind", "here", "source")
        mine, others = ([row for row in rows if (row[2] == "no") is is_no] for is_no in (False, True))
        title = f"Microsoft's criteria: {sum(row[2] == 'yes' for row in rows)} of {len(rows)} apply here"
        rest = folded(f"{len(others):,} that do not apply", table("", columns, others))
        return table(title, columns, mine) + (rest if others else "")


def criteria(situation: Situation) -> Criteria:
    """Go through the criteria of the concept pages: which apply here?"""
    return Criteria(situation, tuple((each, each.applies(situation)) for each in CRITERIA))


# Which methods the data at hand allows: labelled answers, pairs of answers, or a score that can be computed.
#
# The sizes are those of Microsoft's fine-tuning skill (20 Aug 2026) and OpenAI's guides: SFT from 50
# examples, DPO from 500 pairs, RFT from 100 prompts with a grader that can be trusted.


@dataclass(frozen=True)
class MethodNeeds:
    """One of them."""

    name: str
    teaches: str
    needs: str
    has: str
    possible: Ternary


@dataclass(frozen=True, repr=False)
class Methods:
    """All of them."""

    methods: tuple[MethodNeeds, ...]

    def __repr__(self) -> str:
        """A line each."""
        return "\n".join(
            f"{m.name}: {yes_or_no(m.possible)} (needs {m.needs}; {m.has})" for m in self.methods
        )

    def _repr_html_(self) -> str:
        rows = [(m.name, m.teaches, m.needs, m.has, yes_or_no(m.possible)) for m in self.methods]
        return table("What the data allows", ("method", "teaches", "needs", "there is", "possible"), rows)


def methods(situation: Situation) -> Methods:
    """Say for each method what it needs, what there is of it, and whether that is enough."""
    s = situation
    solvable = all_of(at_least(s.pass_rate, 0.05), at_least(0.95, s.pass_rate), no(below(s.mixed_share, 0.2)))
    wrong, passing = out_of_form(s), s.pass_rate
    return Methods(
        (
            MethodNeeds(
                "SFT",
                "to answer like the examples: formats, rules, a new skill",
                "50 questions with the right answer, better hundreds",
                f"{_counted(s.demonstrations)} examples",
                at_least(s.demonstrations, 50),
            ),
            MethodNeeds(
                "DPO",
                "to prefer one good answer to another: style, tone, tact",
                "500 pairs of a better and a worse answer, and a model that follows the form already",
                f"{_counted(s.pairs)} pairs"
                + ("" if wrong is None else f", {percent(wrong)} of the answers out of form"),
                all_of(at_least(s.pairs, 500), no(at_least(wrong, OUT_OF_FORM) or False)),
            ),
            MethodNeeds(
                "RFT",
                "to reason its way to answers that can be scored",
                "a model that can be trained so, 100 prompts, a grader to be trusted, and samples that "
                "sometimes pass: 5 to 95 % of them, a fifth of the prompts mixed",
                f"{_counted(s.prompts)} prompts, grader: {s.grader or 'not known'}, samples that pass: "
                f"{'not measured' if passing is None else percent(passing)}",
                all_of(takes_a_grader(s), at_least(s.prompts, 100), trusted(s), solvable),
            ),
            MethodNeeds(
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


# What the two pages claim, held against what is known and what was measured.


@dataclass(frozen=True)
class Claim:
    """One of them."""

    claim: str
    page: Reference
    known: str
    sources: tuple[Reference, ...]
    measured: str
    """Here; empty where nothing was."""


LORA_LAND = Reference("LoRA Land 2024", f"{ARXIV}/2405.00732")
MEDPROMPT = Reference("Medprompt 2023", f"{ARXIV}/2311.16452")
NEXT_STEPS = (
    Reference(
        "Azure AI Show: To fine-tune or not to fine-tune", "https://www.youtube.com/watch?v=0Jo-z-MFxJs"
    ),
    Reference("Azure OpenAI fine-tuning", f"{LEARN}/ai-services/openai/how-to/fine-tuning"),
    Reference("fine-tuning tutorial", f"{LEARN}/ai-services/openai/tutorials/fine-tune"),
    Reference("prompt engineering", f"{LEARN}/ai-services/openai/concepts/prompt-engineering"),
    Reference("retrieval-augmented generation", f"{LEARN}/ai-studio/concepts/retrieval-augmented-generation"),
)
"""Where the two pages send their readers next."""


@dataclass(frozen=True, repr=False)
class Claims:
    """All of them."""

    claims: tuple[Claim, ...]

    def __repr__(self) -> str:
        """A line each."""
        return "\n".join(f"{c.claim}: {c.known} Here: {c.measured or 'not measured'}" for c in self.claims)

    def _repr_html_(self) -> str:
        measured, others = (
            [c for c in self.claims if bool(c.measured) is is_known] for is_known in (True, False)
        )
        further = folded(f"{len(others):,} claims that were not measured here", self._table(others))
        return (
            self._table(measured or others)
            + (further if measured and others else "")
            + f"<p>The pages themselves go on with: {_links(NEXT_STEPS)}.</p>"
        )

    def _table(self, claims: Sequence[Claim]) -> str:
        rows = [
            (c.claim, c.known, c.measured or "not measured", *map(_links, ((c.page,), c.sources)))
            for c in claims
        ]
        head = "".join(f'<th scope="col" {_LEFT}>{name}</th>' for name in _COLUMNS)
        body = "".join(
            f'<tr><th scope="row" {_LEFT}>{escape(row[0])}</th>'
            + "".join(f"<td {_LEFT}>{escape(cell)}</td>" for cell in row[1:3])
            + "".join(f"<td {_LEFT}>{cell}</td>" for cell in row[3:])
            + "</tr>"
            for row in rows
        )
        caption = f'<caption style="text-align:left">{escape(_CLAIMED)}</caption>'
        return (
            f'<table class="mathjax_ignore">'
            f"{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        )


_LEFT = 'style="text-align:left;vertical-align:top;max-width:22em"'
_COLUMNS = ("the pages say", "what is known", "what you measured", "page", "sources")
_CLAIMED = "What Microsoft's two concept pages claim"


def _links(sources: tuple[Reference, ...]) -> str:
    return ", ".join(f'<a href="{escape(url)}">{escape(title)}</a>' for title, url in sources)


def _claims(s: Situation, tokens: Mapping[str, float], money: "Payback | None") -> Iterator[Claim]:
    lacking = s.failing("missing_knowledge", "retrieval_miss")
    yield Claim(
        "Fewer hallucinations",
        FOUNDRY,
        "Not by adding facts: a model learns facts that are new to it slowly, and then makes up more; "
        "retrieval brings knowledge in.",
        (GEKHMAN, OVADIA),
        "" if lacking is None else f"{percent(lacking)} of the failures lack knowledge.",
    )
    yield Claim(
        "Better accuracy than prompts give",
        CONSIDERATIONS,
        "Often: 310 small tuned models beat their bases by 34 points on narrow tasks. But prompts alone have "
        "beaten tuned specialists, too, so the best prompt is what has to be beaten.",
        (LORA_LAND, MEDPROMPT),
        "" if s.score is None else f"The best prompt is at {percent(s.score)}.",
    )
    yield Claim(
        "A small amount of data is enough; hundreds, if not thousands, are best practice",
        FOUNDRY,
        "The pages disagree. Gains show from 50 to 100 good examples; 335 clean ones have beaten 1,576 "
        "noisy ones.",
        (OPENAI_SFT, SKILL),
        "" if s.demonstrations is None else f"There are {counted(s.demonstrations, 'example')}.",
    )
    long, short = tokens.get("long_prompt"), tokens.get("short_prompt")
    prompts = f"{long:,.0f} prompt tokens become {short:,.0f}." if long and short else ""
    itself, in_its_place = _tuned_ways(money) if money else ("", "")
    yield Claim(
        "Shorter prompts, which lead to cost savings",
        CONSIDERATIONS,
        "Where the saved tokens are worth more than training and hosting; a cached prompt costs a fraction, "
        "and hosting is billed by the hour.",
        (
            Reference(
                "Azure, cost management, 19 Mar 2026",
                f"{LEARN}/ai-foundry/openai/how-to/fine-tuning-cost-management",
            ),
        ),
        " ".join(filter(None, (prompts, itself))),
    )
    slow = s.latency_objective_missed
    larger = "" if s.teacher_score is None else f"A larger model is at {percent(s.teacher_score)}."
    yield Claim(
        "Quicker responses",
        CONSIDERATIONS,
        "A little: a prompt token adds little time beside a token of the answer. A smaller model or shorter "
        "answers do more.",
        (
            Reference(
                "Azure, performance and latency, 26 Nov 2025", f"{LEARN}/ai-foundry/openai/how-to/latency"
            ),
        ),
        "" if slow is None else f"Answers are {'slower than they may be' if slow else 'fast enough'}.",
    )
    yield Claim(
        "A smaller tuned model does what a larger one does",
        CONSIDERATIONS,
        "On narrow tasks it can; measure it on your own questions, beside the larger one.",
        (LORA_LAND, MEDPROMPT),
        " ".join(filter(None, (larger, in_its_place))),
    )
    yield Claim(
        "DPO is equally effective at alignment as reinforcement from human feedback",
        CONSIDERATIONS,
        "Contested: well-tuned PPO beat DPO on every test bed of one study. Where the model does not know "
        "the format yet, DPO alone is weak: 4.76 against 6.64 for SFT and 7.00 for both. And the task pays: "
        f"{_DPO_HERE}",
        (Reference("Xu et al. 2024", f"{ARXIV}/2404.10719"), ZEPHYR, DISPLACEMENT),
        " ".join(filter(None, (_pairs(s), _preferences(s)))),
    )
    yield Claim(
        "RFT is a great way when there are many ways to solve a problem; the grader makes reasoning better",
        CONSIDERATIONS,
        "Where the model is right now and then: with a reward of 0 in every group it learns nothing. "
        f"{_RFT_HERE}",
        (OPENAI_RFT, AZURE_RFT),
        " ".join(filter(None, (_samples(s), _graded(s)))),
    )
    yield Claim(
        "Techniques stack: first SFT, then preferences",
        CONSIDERATIONS,
        "In this order, and from a model that is good at the task already: 7.00 for both against 6.64 for "
        f"SFT in one study. {_STACK_HERE}",
        (ZEPHYR, DISPLACEMENT),
        _preferences(s),
    )


# What trials of this package measured, on SmolLM2-135M-Instruct and two CPU cores: one seed unless said.
# Newer measurements take the place of these; each sentence has its day.
_DPO_HERE = (
    "pairs for a style moved it from 0 to 100 % and the right answers from 92 to 56 % in 22 steps (measured "
    "on SmolLM2-135M on two CPU cores, 22 Nov 2026). It pays less for 8 steps with the preferred answers' "
    "own likelihood weighed in: a shop's tone rose from 18 to at least 98 % of 120 tickets and the right "
    "team stayed at 71 to 73 %, yet what a customer must be told fell from 22 to at most 17 % (three seeds, "
    "30 Nov 2026)."
)
_STACK_HERE = (
    "From a weak SFT model, right 26 % of the time, DPO on its own mistakes left 8 % right while its margin "
    "rose (SmolLM2-135M, 22 Nov 2026)."
)
_RFT_HERE = (
    "Routing easy tickets in one word rose from 33 to 83 % and, with another seed, from 33 to 78 % in a "
    "minute of one CPU core; long queries with partial credit stood still, 60 to 62 % (SmolLM2-135M, 22 Nov "
    "2026). The base model routed a support desk's tickets worse after it, 27 to 20 %, all to one team; on "
    "top of SFT, answers with the right team in the shop's tone rose from 12 to 67 % or more in 6 steps "
    "(three seeds, 30 Nov 2026)."
)


def _pairs(s: Situation) -> str:
    return "" if s.pairs is None else f"There are {counted(s.pairs, 'pair')}."


def _preferences(s: Situation) -> str:
    known = (s.preferred_gain, s.preference_cost) != (None, None)
    return f"{high(preferences_so_far(s))}." if known else ""


def _samples(s: Situation) -> str:
    return "" if s.pass_rate is None else high(samples(s, "the base model's")) + "."


def _graded(s: Situation) -> str:
    if s.graded_gain is None:
        return ""
    return f"Training with a grader {'took' if s.graded_gain < 0 else 'added'} {points(s.graded_gain)}."


def _tuned_ways(money: "Payback") -> tuple[str, str]:
    """What the payback says of tuning the model itself, and of tuning others in its place."""
    model = money.case.base.name.partition(",")[0]
    itself: list[str] = []
    others: list[str] = []
    for outlook in money.outlooks:
        if outlook.likely.way.training:
            own = outlook.likely.way.name.startswith(f"{model},")
            (itself if own else others).append(outlook.sentence)
    return " ".join(itself), " ".join(others)
