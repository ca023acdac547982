"""What grading costs: each kind on the sample project's own rows, and the sandbox beside its rivals.

    python tests/benchmarks/graders.py          about half a minute

Times are microseconds an answer, wall clock, the best of ``ROUNDS``. The same work done in this process
without a sandbox, and in a process started anew for each answer, stand beside the sandbox.
"""

import csv
import runpy
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeAlias

from workbench.evaluation.graders.grading import graded
from workbench.evaluation.graders.judges import Reply
from workbench.evaluation.graders.ready_made import grader
from workbench.evaluation.graders.sandbox import close_sandboxes
from workbench.settings import DATA

Case: TypeAlias = tuple[str, Mapping[str, object]]

ROUNDS = 3
ANSWERS = 10_000

with (DATA / "gql" / "pairs.csv").open(encoding="utf-8", newline="") as file:
    ROWS = list(csv.DictReader(file))
# Half of the answers are right, the others belong to another question.
CASES: list[Case] = [
    (ROWS[(number + number % 2) % len(ROWS)]["query"], {"answer": ROWS[number % len(ROWS)]["query"]})
    for number in range(ANSWERS)
]
LEAST = {"type": "python", "name": "least", "source": "def grade(sample, item):\n    return 1\n"}
TEXTS = {"input": "{{sample.output_text}}", "reference": "{{item.answer}}"}


def similarity(metric: str) -> dict[str, object]:
    return {"type": "text_similarity", "name": metric, "evaluation_metric": metric, **TEXTS}


def judge() -> dict[str, object]:
    messages = [{"role": "user", "content": "Rate {{sample.output_text}} against {{item.answer}}."}]
    return {"type": "score_model", "name": "judge", "model": "none", "input": messages}


def all_of(one: dict[str, object], cases: Sequence[Case]) -> None:
    for said, item in cases:
        graded(one, said, item, ask=lambda judged: Reply("0.5"))


def best(work: Callable[[], object], count: int) -> float:
    """Microseconds for one of ``count``, after one round to warm up."""
    times = []
    for _ in range(1 + ROUNDS):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times[1:]) / count * 1e6


def show(name: str, microseconds: float) -> None:
    print(f"{name:<44}{microseconds:>12,.1f} µs", flush=True)


def main() -> None:
    start = time.perf_counter()
    all_of(LEAST, CASES[:1])
    show("the first answer, opening a sandbox", (time.perf_counter() - start) * 1e6)
    for name, one in KINDS.items():
        show(name, best(partial(all_of, one, CASES), ANSWERS))
    with ThreadPoolExecutor(4) as threads:
        parts = [CASES[part::4] for part in range(4)]
        four = best(lambda: list(threads.map(partial(all_of, grader("data/gql/gql.py")), parts)), ANSWERS)
    show("python in sandboxes, gql, four threads", four)
    grade = runpy.run_path(str(DATA / "gql" / "gql.py"))["grade"]
    alone = best(lambda: [grade({"output_text": said}, item) for said, item in CASES], ANSWERS)
    show("gql in this process, without a sandbox", alone)
    for metric in ("bleu", "gleu", "meteor", "rouge_1", "rouge_l"):
        show(f"text_similarity, {metric}", best(partial(all_of, similarity(metric), CASES[:500]), 500))
    started = [sys.executable, "-c", "pass"]
    anew = best(lambda: [subprocess.run(started, check=True) for _ in range(20)], 20)
    show("a process started anew, doing nothing", anew)
    close_sandboxes()


KINDS = {
    "string_check": grader("exact"),
    "text_similarity, fuzzy_match": similarity("fuzzy_match"),
    "multi of these two": {
        "type": "multi",
        "name": "both",
        "graders": {"exact": grader("exact"), "close": similarity("fuzzy_match")},
        "calculate_output": "0.5 * exact + 0.5 * close",
    },
    "score_model, the judge's own time aside": judge(),
    "python in a sandbox, the least there is": LEAST,
    "python in a sandbox, gql": grader("data/gql/gql.py"),
}


if __name__ == "__main__":
    main()
