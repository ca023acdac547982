"""What a run can tell about its training examples, as the lines of ``lessons.jsonl``.

Said once the run has ended: the first batch as the model read it, with its mask, and the loss of
every example whenever it was visited. The client puts it beside the user's own rows.
"""

import json
import math
from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import TypeAlias

from workbench.local.models.model import Base
from workbench.local.training.encoding import Row
from workbench.local.training.run import TrainingRun

NAME = "lessons.jsonl"

Line: TypeAlias = Mapping[str, object]


def lines(run: TrainingRun, *, sha256: str) -> Iterator[bytes]:
    """The file, line by line; ``sha256`` is the training file's, so that nobody matches it with another.

    First what it is about, then the examples of the first step as ``[text, learnt]`` pieces, then one
    line for each example: its line in the training file from 1, its learnt tokens, and its losses (nats
    per learnt token; ``null`` where nothing is learnt or nobody looked).
    """
    trace = run.trace
    about: Line = {
        "kind": "about",
        "model": run.base.name,
        "training_sha256": sha256,
        "examples": len(run.training),
        "n_epochs": run.plan.n_epochs,
        "batch_size": run.plan.batch_size,
        "looked_at": len(trace.sample),
    }
    yield _line(about)
    for row in run.schedule[0]:
        yield _line({"kind": "first_batch", "line": row + 1, "pieces": _pieces(run.base, run.training[row])})
    for row, example in enumerate(run.training):
        yield _line(
            {
                "kind": "example",
                "line": row + 1,
                "learnt_tokens": sum(example.learnt),
                "losses": [_number(loss) for loss in trace.visits[row]],
                "before": _number(trace.before.get(row)),
                "after": _number(trace.after.get(row)),
            }
        )


def _pieces(base: Base, row: Row) -> list[tuple[str, bool]]:
    """The text of a row in stretches that are learnt or not, special tokens and all."""
    runs = groupby(zip(row.tokens, row.learnt, strict=True), key=lambda pair: pair[1])
    return [(str(base.tokenizer.decode([token for token, _ in run])), learnt) for learnt, run in runs]


def _number(loss: float | None) -> float | None:
    return round(loss, 6) if loss is not None and math.isfinite(loss) else None


def _line(content: Line) -> bytes:
    return json.dumps(content, ensure_ascii=False).encode() + b"\n"
