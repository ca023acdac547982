# Pass rates of prompts: what a reinforcement job could learn from.

_EDGE, _TOP, _FEET = 10, 70.0, 210.0  # pixels: where the bars begin, and where they end above and below


@dataclass(frozen=True, repr=False)
class PassRateChart(Picture):
    """A histogram: how many prompts have which pass rate; those at the ends teach nothing."""

    rates: PassRates

    @property
    def words(self) -> str:
        """What the bars say: prompts at both ends, and in between."""
        rates = self.rates
        never, always, prompts = len(rates.never), len(rates.always), len(rates.by_prompt)
        return (
            f"Of {prompts} prompts {never} never pass and {always} always do (orange); "
            f"{prompts - never - always} lie in between and can teach (blue)."
        )

    @property
    def svg(self) -> str:
        """The drawing, which stands on its own."""
        bars = self.rates.bars
        up = Scale(0.0, max((prompts for _, prompts in bars), default=0) or 1, _FEET, _TOP)
        wide = (WIDTH - 2 * _EDGE) / len(bars)
        parts = [text(0, 16, self.rates.headline, weight=600, size=15)]
        parts += [text(0, 36, self.words), stroke(f"M{_EDGE} {_FEET}H{WIDTH - _EDGE}", GREY, 1, opacity=0.5)]
        for place, (rate, prompts) in enumerate(bars):
            left, top = _EDGE + place * wide, up.at(prompts)
            path = f"M{left + 2:.1f} {_FEET}V{top:.1f}h{wide - 4:.1f}V{_FEET}z"
            parts.append(area(path, _at_an_end(rate), 0.85))
            parts.append(text(left + wide / 2, _FEET + 16, f"{100 * rate:.0f} %", "middle"))
            if prompts:
                parts.append(text(left + wide / 2, top - 5, str(prompts), "middle", weight=600))
        below = "share of a prompt's answers that pass; on the bars the number of prompts"
        parts.append(text(WIDTH / 2, _FEET + 38, below, "middle"))
        return picture(_FEET + 48, f"{self.rates.headline}. {self.words}", parts)

    def __repr__(self) -> str:
        """The headline, the sentence, and a line for each bar."""
        lines = [
            f"{100 * rate:3.0f} % pass: {prompts} prompts" for rate, prompts in self.rates.bars if prompts
        ]
        return "\n".join((self.rates.headline, self.words, *lines))


def pass_rate_chart(rates: PassRates) -> PassRateChart:
    """Show me how the pass rates of the prompts are distributed."""
    return PassRateChart(rates)


def _at_an_end(rate: float) -> str:
    return VERMILLION if rate in (0, 1) else BLUE


# The lengths of pairs: what a model could learn in place of quality.

_BARS = 24
_BASE = 164.0  # pixels from the top to the feet of the bars


@dataclass(frozen=True, repr=False)
class LengthChart(Picture):
    """How much longer preferred answers are than rejected ones, in characters, as a histogram."""

    bias: Bias

    @property
    def words(self) -> str:
        """What is shown, in a sentence."""
        found = self.bias
        share, p = found.share_longer, found.p_longer
        if share is None or p is None:
            return f"All {counted(found.pairs, 'pair')} have answers of equal length."
        said = (
            "Length is preferred, so the model may learn to be long; add pairs in which the shorter is better"
            if found.is_long
            else "Length alone does not tell which answer is preferred"
        )
        chance = f"p = {p:.2g}" if p >= 0.001 else "p < 0.001"
        of = counted(found.longer + found.shorter, "pair")
        return (
            f"{said}: the preferred answer is the longer one in {share:.0%} of {of} that differ ({chance})."
        )

    @property
    def bars(self) -> list[tuple[float, float, int]]:
        """Of each bar where it begins and ends, in characters, and how many pairs it has.

        A difference d lies in the bar that ends at d or beyond; pairs of equal length are in none.
        """
        most = max(map(abs, self.bias.differences), default=0)
        width = max(1, -(-2 * most // _BARS))
        counts = Counter(
            (difference - 1) // width if difference > 0 else -((-difference - 1) // width) - 1
            for difference in self.bias.differences
            if difference
        )
        return [
            (place * width, (place + 1) * width, counts[place])
            for place in range(min(counts, default=0), max(counts, default=0) + 1)
        ]

    @property
    def svg(self) -> str:
        """The drawing, which stands on its own."""
        bars = self.bars
        x = Scale(min(bars[0][0], 0.0), max(bars[-1][1], 1.0), 40, WIDTH - 40)
        y = Scale(0.0, max(count for *_, count in bars) or 1, _BASE, 44)
        parts = [text(0, 15, "How much longer the preferred answer is, in characters", weight=600)]
        for low, high, count in bars:
            if count:
                left, right, top = x.at(low) + 0.5, x.at(high) - 0.5, y.at(count)
                path = f"M{left:.1f} {_BASE}V{top:.1f}H{right:.1f}V{_BASE}z"
                parts.append(area(path, BLUE if low >= 0 else VERMILLION, 0.8))
                parts.append(text((left + right) / 2, top - 4, f"{count}", "middle"))
        parts.append(stroke(f"M{x.at(0):.1f} 38V{_BASE}", GREY, 1, dash="2 3"))
        parts += [text(x.at(tick), _BASE + 16, f"{tick:g}", "middle") for tick in x.ticks(8, 1.0)]
        parts += [text(x.at(0) - 8, _BASE + 34, "← the rejected is longer", "end")]
        parts += [text(x.at(0) + 8, _BASE + 34, "the preferred is longer →")]
        return picture(_BASE + 44, self.words, parts)

    def __repr__(self) -> str:
        """The sentence."""
        return self.words

    @property
    def below(self) -> str:
        """The sentence, and what else the preferred answers have in common."""
        return f"<p>{safe(self.words)}</p>{self.bias._repr_html_()}"


def length_chart(pairs: Dataset) -> LengthChart:
    """Show me whether the preferred answers are simply the longer ones, and what else they have in common."""
    return LengthChart(bias(pairs))
