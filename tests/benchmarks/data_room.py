"""Checking chat files beside what people use today: time of all cores, and memory of all processes.

    python tests/benchmarks/data_room.py                    1,000,000 lines, 1.1 GB, some minutes
    python tests/benchmarks/data_room.py --lines 100000

Each job runs in a process of its own. CPU time counts its children; memory is the largest sum over all of
its processes, sampled twenty times a second. The files are written below a temporary folder, which goes.
"""

import argparse
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import psutil
from chat_files import write

from workbench.dataset.check.check import check
from workbench.dataset.tokenizers import reference

DOCUMENTS = 100_000  # for the near-duplicates
NEAR = 0.7


class Cost(NamedTuple):
    """What a job took, and what it said."""

    cpu: float
    """Seconds, of all processes."""
    wall: float
    memory: float
    """MB at the peak, of all processes together."""
    said: Mapping[str, object]


def check_format(path: Path) -> dict[str, object]:
    """Ours: all rules of the format and of JSON."""
    report = check(path, method="sft", only=("format",))
    return {"examples": report.examples, "errors": report.counts["error"]}


def check_everything(path: Path) -> dict[str, object]:
    """Ours: every aspect."""
    report = check(path, method="sft")
    return {"examples": report.examples, "problems": sum(report.counts.values())}


def validator(path: Path) -> dict[str, object]:
    """The peer: the loop that the cookbooks show, here going on behind a bad line."""
    examples = errors = 0
    with open(path, encoding="utf-8", errors="replace") as file:
        for line in file:
            try:
                example = json.loads(line)
            except json.JSONDecodeError:
                errors += 1
                continue
            if not isinstance(example, dict) or not isinstance(example.get("messages"), list):
                errors += 1
                continue
            examples += 1
            for message in example["messages"]:
                if "role" not in message or "content" not in message:
                    errors += 1
                if any(key not in ("role", "content", "name", "weight", "tool_calls") for key in message):
                    errors += 1
                if message.get("role") not in ("system", "user", "assistant", "tool"):
                    errors += 1
                if not message.get("content") or not isinstance(message["content"], str):
                    errors += 1
            if not any(message.get("role") == "assistant" for message in example["messages"]):
                errors += 1
    return {"examples": examples, "errors": errors}


def check_tokens(path: Path) -> dict[str, object]:
    """Ours: the tokens of every example."""
    return {"tokens": check(path, method="sft", only=("tokens",)).tokens}


def json_and_tiktoken(path: Path) -> dict[str, object]:
    """The peer: OpenAI's counting rule with OpenAI's library."""
    encode = reference("o200k_base").encode_ordinary
    tokens = 0
    with open(path, encoding="utf-8") as file:
        for line in file:
            tokens += 3
            for message in json.loads(line)["messages"]:
                tokens += 3 + sum(len(encode(text)) for text in message.values())
    return {"tokens": tokens}


def check_repeats(path: Path) -> dict[str, object]:
    """Ours: duplicates and near-duplicates; each with the row that it repeats."""
    report = check(path, method="sft", only=("repeats",))
    pairs = {}
    for problem in (*report.of("duplicate"), *report.of("near_duplicate")):
        named = re.search(r"\.jsonl:(\d+)", problem.message)
        if problem.line is not None and named is not None:
            pairs[problem.line] = int(named[1])
    return {"pairs": pairs}


JOBS: dict[str, Callable[[Path], dict[str, object]]] = {
    job.__name__: job
    for job in (check_format, check_everything, validator, check_tokens, json_and_tiktoken, check_repeats)
}


def cost(job: Callable[[Path], dict[str, object]], path: Path) -> Cost:
    """Run a job in a process of its own and watch it."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    command = [sys.executable, __file__, "--job", job.__name__, str(path)]
    with tempfile.TemporaryFile("w+") as said:
        running = subprocess.Popen(command, stdout=said, stderr=subprocess.DEVNULL)
        memory = 0
        while running.poll() is None:
            memory = max(memory, _memory(running.pid))
            time.sleep(0.05)
        wall = time.perf_counter() - started
        said.seek(0)
        result = said.read()
    if running.returncode:
        raise SystemExit(f"{job.__name__} failed; run {' '.join(command)}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(cpu, wall, memory / 1e6, json.loads(result))


def main() -> None:
    """Write the files, run the jobs one after the other, print the table."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    asked.add_argument("--lines", type=int, default=1_000_000)
    asked.add_argument("--everything", action="store_true", help="all aspects as well")
    asked.add_argument("--job", nargs=2, metavar=("NAME", "FILE"), help="only this, on that file")
    options = asked.parse_args()
    if options.job:
        name, file = options.job
        print(json.dumps(JOBS[name](Path(file))))
        return
    with tempfile.TemporaryDirectory(prefix="workbench-") as folder:
        _compare(Path(folder), options.lines, options.everything)


def _compare(folder: Path, lines: int, everything: bool) -> None:
    clean, dirty, copies = (folder / f"{name}.jsonl" for name in ("clean", "dirty", "copies"))
    write(clean, lines)
    write(dirty, lines, faulty=0.02)
    planted = write(copies, DOCUMENTS, copied=0.05)
    print(f"{lines:,} lines, {clean.stat().st_size / 1e6:,.0f} MB, {os.cpu_count()} cores")
    print(f"{'job':<30} {'MB/CPU s':>9} {'CPU s':>7} {'wall s':>7} {'peak MB':>8}  result")
    loop = _shown("validator loop, clean", validator, clean)
    sound = _shown("check format, clean", check_format, clean)
    _shown("check format, 2 % faulty", check_format, dirty)
    _shown("validator loop, 2 % faulty", validator, dirty)
    theirs = _shown("json + tiktoken", json_and_tiktoken, clean)
    ours = _shown("check tokens", check_tokens, clean)
    repeats = cost(check_repeats, copies)
    if everything:
        _shown("check everything, 2 % faulty", check_everything, dirty)
    print(
        f"format: {loop.cpu / sound.cpu:.1f} times the validator loop by CPU, "
        f"{loop.wall / sound.wall:.1f} by wall"
    )
    same = "identical" if theirs.said == ours.said else f"DIFFERENT: {theirs.said} and {ours.said}"
    print(
        f"tokens: {theirs.cpu / ours.cpu:.1f} times json + tiktoken by CPU, "
        f"{theirs.wall / ours.wall:.1f} by wall; totals {same}"
    )
    _judge(repeats, planted, copies)


def _shown(name: str, job: Callable[[Path], dict[str, object]], path: Path) -> Cost:
    took = cost(job, path)
    speed = path.stat().st_size / 1e6 / took.cpu
    print(
        f"{name:<30} {speed:>9.1f} {took.cpu:>7.1f} {took.wall:>7.1f} {took.memory:>8.0f}  {dict(took.said)}",
        flush=True,
    )
    return took


def _judge(took: Cost, planted: Mapping[int, int], path: Path) -> None:
    """Recall on the copies that were planted, and the pairs that are no pairs."""
    told = took.said["pairs"]
    found = {int(line): int(to) for line, to in told.items()} if isinstance(told, dict) else {}
    wanted = {*planted, *planted.values(), *found, *found.values()}
    texts = {}
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if number in wanted:
                _, question, answer = json.loads(line)["messages"]
                texts[number] = _pieces(question["content"]) | _pieces(answer["content"])
    close = {copy for copy, original in planted.items() if _jaccard(texts[copy], texts[original]) >= NEAR}
    false = sum(_jaccard(texts[line], texts[to]) < NEAR for line, to in found.items())
    print(
        f"near-duplicates of {DOCUMENTS:,}: {took.cpu:.1f} CPU s, {took.wall:.1f} s, {took.memory:.0f} MB; "
        f"recall {len(close & found.keys()) / len(close):.4f} of {len(close):,}, "
        f"{false} false of {len(found):,}"
    )


def _pieces(text: str) -> set[tuple[str, ...]]:
    words = re.findall(r"\w+", text.lower())
    return set(zip(words, words[1:], words[2:], strict=False))


def _jaccard(one: set[tuple[str, ...]], other: set[tuple[str, ...]]) -> float:
    return len(one & other) / max(1, len(one | other))


def _memory(pid: int) -> int:
    """Bytes held by a process and its descendants; what they share is counted each time."""
    try:
        process = psutil.Process(pid)
        family = [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    held = 0
    for member in family:
        try:
            held += member.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return held


if __name__ == "__main__":
    main()
