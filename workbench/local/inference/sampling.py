"""How the next token is chosen from the model's scores, each row of a batch by its own wishes."""

from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from workbench.local.inference.grammar import Constraint

NUCLEUS = 1024  # the likeliest tokens looked at first; sorting a whole vocabulary takes ten times as long


@dataclass(frozen=True)
class Sampling:
    """How the next token is drawn: temperature 0 takes the likeliest; a seed repeats a draw."""

    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: tuple[tuple[int, float], ...] = ()
    top_logprobs: int | None = None  # how many likely tokens to tell with each; None: not even its own


GREEDY = Sampling()


class Chances(NamedTuple):
    """The log-probability of a token as the model sees it (temperature 1, all allowed), and of its rivals."""

    logprob: float
    top: tuple[tuple[int, float], ...]


@dataclass
class Sampler:
    """The wishes of one row, and what they depend on: what was said, what the grammar allows next."""

    sampling: Sampling
    constraint: Constraint | None = None
    said: Counter[int] = field(default_factory=Counter)
    generator: torch.Generator = field(default_factory=torch.Generator)
    biases: tuple[Tensor, Tensor] | None = None  # tokens, and what is added to their scores

    def __post_init__(self) -> None:
        """Begin the row's own stream of random numbers; lay out its biases."""
        if self.sampling.logit_bias:
            tokens, biases = zip(*self.sampling.logit_bias, strict=True)
            self.biases = torch.tensor(tokens), torch.tensor(biases, dtype=torch.float32)
        if self.sampling.seed is None:
            self.generator.seed()
        else:
            self.generator.manual_seed(self.sampling.seed)


def draw(scores: Tensor, samplers: list[Sampler]) -> list[tuple[int, Chances | None]]:
    """One token for every row of ``scores`` (rows, vocabulary), and its chances where they are asked for."""
    asked = [row for row, sampler in enumerate(samplers) if sampler.sampling.top_logprobs is not None]
    plain = scores[asked].log_softmax(-1) if asked else None
    for row, sampler in enumerate(samplers):
        _adjust(scores[row], sampler)
    tokens: list[int] = scores.argmax(-1).tolist()
    for row, sampler in enumerate(samplers):
        if sampler.sampling.temperature > 0:
            tokens[row] = _sample(scores[row], sampler)
        constraint = sampler.constraint
        if constraint is not None and not constraint.allows(tokens[row]):
            # What the grammar forbids is drawn again among what it allows: the mask is seldom needed.
            scores[row].masked_fill_(constraint.forbidden(scores.shape[1]), -torch.inf)
            tokens[row] = _sample(scores[row], sampler)
    for sampler, token in zip(samplers, tokens, strict=True):
        sampler.said[token] += 1
        if sampler.constraint is not None:
            sampler.constraint.take(token)
    chances: dict[int, Chances] = {}
    if plain is not None:
        wishes = [samplers[row].sampling.top_logprobs or 0 for row in asked]
        chances = dict(zip(asked, _chances(plain, [tokens[row] for row in asked], wishes), strict=True))
    return [(token, chances.get(row)) for row, token in enumerate(tokens)]


def _adjust(scores: Tensor, sampler: Sampler) -> None:
    """Add the biases and take off the penalties, as OpenAI defines them."""
    sampling = sampler.sampling
    if sampler.biases is not None:
        tokens, biases = (part.to(scores.device) for part in sampler.biases)
        scores.index_add_(0, tokens, biases.to(scores.dtype))
    if sampler.said and (sampling.presence_penalty or sampling.frequency_penalty):
        tokens = torch.tensor(list(sampler.said), device=scores.device)
        counts = torch.tensor(list(sampler.said.values()), device=scores.device, dtype=scores.dtype)
        scores[tokens] -= sampling.presence_penalty + sampling.frequency_penalty * counts


def _sample(scores: Tensor, sampler: Sampler) -> int:
    sampling = sampler.sampling
    if sampling.temperature == 0:
        return int(scores.argmax())
    shares = (scores.cpu() / sampling.temperature).softmax(-1)
    if sampling.top_p < 1:
        return _of_nucleus(shares, sampling.top_p, sampler.generator)
    return _inverse(shares, sampler.generator)


def _of_nucleus(shares: Tensor, top_p: float, generator: torch.Generator) -> int:
    """Nucleus sampling (Holtzman et al. 2020): from the smallest set that holds ``top_p`` of the chances."""
    ordered, order = shares.topk(min(NUCLEUS, shares.numel()))
    if float(ordered.sum()) < top_p:
        ordered, order = shares.sort(descending=True)
    ordered[ordered.cumsum(-1) - ordered >= top_p] = 0  # the first always stays
    return int(order[_inverse(ordered, generator)])


def _inverse(shares: Tensor, generator: torch.Generator) -> int:
    """One draw by one uniform number: the first token at which the summed chances exceed it."""
    summed = shares.double().cumsum(-1)
    at = torch.rand(1, generator=generator, dtype=torch.float64) * summed[-1]
    return min(int(torch.searchsorted(summed, at, right=True)), shares.numel() - 1)


def _chances(plain: Tensor, tokens: list[int], wishes: list[int]) -> list[Chances]:
    """The chances of each row's token among the log-probabilities ``plain`` (rows, vocabulary)."""
    drawn = plain.gather(1, torch.tensor(tokens, device=plain.device)[:, None])[:, 0].tolist()
    values, order = plain.topk(max(wishes))
    rows = zip(drawn, order.tolist(), values.tolist(), wishes, strict=True)
    return [Chances(own, tuple(zip(ids[:wish], top[:wish], strict=True))) for own, ids, top, wish in rows]
