"""The real app with the real engine in the same process, on the nano model: no worker to wait for."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

from idle_service import IdleWorkers

from workbench.local.chat_protocol import ChatRequest, Completion, Delta, Refusal
from workbench.local.inference.scheduler import Scheduler
from workbench.local.models.bases import build_nano
from workbench.local.models.model import Base, load_base

# Writes tools and calls as the templates of Hermes and Qwen do.
TOOL_TEMPLATE = (
    "{% if tools %}<|im_start|>system\n{% for tool in tools %}{{ tool | tojson }}\n{% endfor %}"
    "Call as <tool_call>{...}</tool_call>.<|im_end|>\n{% endif %}"
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}"
    "{% for call in message.tool_calls %}<tool_call>\n{{ call.function | tojson }}\n</tool_call>{% endfor %}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def nano_with_tools(folder: Path) -> Path:
    """The nano model with a chat template that knows tools."""
    build_nano(folder)
    settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    settings["chat_template"] = TOOL_TEMPLATE
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return folder


def nano(folder: Path) -> Base:
    """The model of ``folder`` in memory, as the service knows it."""
    return load_base("nano", folder)


class SchedulerWorkers(IdleWorkers):
    """Answers one request after the other, by one scheduler."""

    def __init__(self, base: Base) -> None:
        self.scheduler = Scheduler(base)
        self._count = 0

    async def complete(self, request: ChatRequest) -> Completion:
        *_, last = [piece async for piece in self._pieces(request, streamed=False)]
        assert isinstance(last, Completion)
        return last

    def stream(self, request: ChatRequest) -> AsyncIterator[Delta | Completion]:
        return self._pieces(request, streamed=True)

    async def _pieces(self, request: ChatRequest, *, streamed: bool) -> AsyncIterator[Delta | Completion]:
        self._count += 1
        self.scheduler.take(self._count, request, streamed=streamed)
        while self.scheduler.busy:
            for _, piece in self.scheduler.turn():
                if isinstance(piece, Refusal):
                    raise piece
                yield piece
