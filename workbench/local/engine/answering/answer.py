"""One answer being written: its text as far as it is known, where it stops, what may be sent already."""

from tokenizers.decoders import DecodeStream

from workbench.dataset.tokens.chat_template import CALL_OPENING
from workbench.local.chat import ChatRequest, Choice, Delta, Likelihood
from workbench.local.engine.answering import tools
from workbench.local.engine.answering.constraint import Constraint, Grammars
from workbench.local.engine.answering.generate import Drawn
from workbench.local.engine.answering.sampling import Sampling
from workbench.local.engine.model import Base


class Answer:
    """One answer to one request; ``finish_reason`` is set when it is complete."""

    def __init__(
        self,
        index: int,
        request: ChatRequest,
        base: Base,
        grammars: Grammars,
        grammar: str | None,
        limit: int,
    ) -> None:
        """``index`` counts the answers of a request from 0; it is at most ``limit`` tokens long."""
        self.index = index
        self.limit = limit
        self.constraint: Constraint | None = None if grammar is None else grammars.follow(grammar)
        self.tokens: list[int] = []
        self.cached_tokens = 0
        self.finish_reason: str | None = None
        self._request = request
        self._base = base
        self._grammars = grammars
        self._decoding = DecodeStream(skip_special_tokens=True)
        self._text = ""
        self._sent = 0  # characters
        self._likelihoods: list[Likelihood] = []
        self._told = 0  # likelihoods

    @property
    def sampling(self) -> Sampling:
        """How its tokens are drawn."""
        request = self._request
        return Sampling(
            request.temperature,
            request.top_p,
            None if request.seed is None else request.seed + self.index,  # or all n answers would be the same
            request.presence_penalty,
            request.frequency_penalty,
            request.logit_bias,
            request.top_logprobs,
        )

    def add(self, drawn: Drawn) -> None:
        """Take the next token."""
        self.cached_tokens = drawn.cached
        self.tokens.append(drawn.token)
        if drawn.token not in self._base.stop_tokens:
            self._text += self._decoding.step(self._base.tokenizer.backend_tokenizer, drawn.token) or ""
            if drawn.chances:
                self._likelihoods.append(
                    self._likelihood(drawn.token, drawn.chances.logprob, drawn.chances.top)
                )
        cuts = [at for at in (self._text.find(stop) for stop in self._request.stop) if at >= 0]
        if drawn.ended or cuts:
            self._finish("stop", min(cuts, default=None))
        elif len(self.tokens) >= self.limit:
            self._finish("length", None)

    def news(self) -> Delta | None:
        """What was not sent yet; what may become a stop sequence or a call of a tool waits."""
        end = len(self._text)
        if self.finish_reason is None:
            waiting = (*self._request.stop, CALL_OPENING) if self._request.tools else self._request.stop
            end -= max((_overlap(self._text, stop) for stop in waiting), default=0)
        if self._request.tools and (self.finish_reason is None or self.choice.tool_calls):
            opening = self._text.find(CALL_OPENING)
            end = min(end, opening) if opening >= 0 else end
        text, self._sent = self._text[self._sent : end], max(self._sent, end)
        fresh, self._told = self._likelihoods[self._told :], len(self._likelihoods)
        return Delta(self.index, text, tuple(fresh)) if text or fresh else None

    @property
    def choice(self) -> Choice:
        """The whole answer."""
        text, calls = tools.read_calls(self._text) if self._request.tools else (self._text, ())
        reason = "tool_calls" if calls and self.finish_reason == "stop" else self.finish_reason or "stop"
        asked = self._request.top_logprobs is not None
        return Choice(text, reason, tuple(self._likelihoods) if asked else None, calls)

    def _finish(self, reason: str, cut: int | None) -> None:
        self.finish_reason = reason
        # Half a character at the end shows only when all is decoded at once.
        whole = self._base.text([token for token in self.tokens if token not in self._base.stop_tokens])
        self._text = (whole if whole.startswith(self._text) else self._text)[:cut]

    def _likelihood(self, token: int, logprob: float, top: tuple[tuple[int, float], ...]) -> Likelihood:
        said = self._grammars.vocabulary.decode_bytes([token])
        text = said.decode(errors="replace")
        return Likelihood(text, tuple(said), logprob, tuple(self._likelihood(*rival, ()) for rival in top))


def _overlap(text: str, stop: str) -> int:
    """How many characters at the end of ``text`` may be the start of ``stop``."""
    return next((size for size in range(len(stop) - 1, 0, -1) if text.endswith(stop[:size])), 0)
