"""Through how many modules does one CSV row go, from `read` to its point on the drawn curve?

    python tests/benchmarks/row_path.py          a quarter of a minute; nano is trained, in a temporary home

A module is entered when a function of it is called; importing it does not count. Everything runs in this
process: the app is spoken to by the official client, and the worker's `train` is called here instead of in
a forked process, whose starting (``workbench.local.workers``) is therefore added by hand.
"""

import csv
import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

SETTINGS = {
    "WORKBENCH_HEADLESS": "1",
    "OMP_NUM_THREADS": "1",
    "WORKBENCH_LOCAL_KEY": "",
    "WORKBENCH_MODEL": "",
}
STARTS_THE_WORKER = "workbench.local.workers"
MOST = 55  # preflight included


@contextmanager
def entered(package: Path) -> Iterator[set[str]]:
    """The modules of ``package`` of which a function is called meanwhile, in any thread begun meanwhile."""
    modules: set[str] = set()
    names: dict[CodeType, str | None] = {}

    def name(code: CodeType) -> str | None:
        path = Path(code.co_filename)
        if not path.is_relative_to(package) or not code.co_flags & 1:  # a module or a class being made
            return None
        parts = path.relative_to(package.parent).with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    def note(frame: FrameType, event: str, argument: Any) -> None:
        if event == "call":
            code = frame.f_code
            if code not in names:
                names[code] = name(code)
            if found := names[code]:
                modules.add(found)

    before = sys.getprofile(), threading.getprofile()
    sys.setprofile(note)
    threading.setprofile(note)
    try:
        yield modules
    finally:
        sys.setprofile(before[0])
        threading.setprofile(before[1])


def walk(home: Path) -> dict[str, set[str]]:
    """The modules that each verb of the way enters, with the service's behind it."""
    os.environ |= SETTINGS | {"WORKBENCH_HOME": str(home)}
    from idle_service import KEY, idle_service
    from openai import OpenAI

    import workbench as wb
    from workbench.local.training.training_worker import train
    from workbench.settings import ROOT, models_in

    package = ROOT / "workbench"
    for path in package.rglob("*.py"):  # what importing calls does not count
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        if not name.endswith("__main__") and "sources" not in path.parts:
            import_module(name.removesuffix(".__init__"))
    table = home / "faq.csv"
    table.parent.mkdir(parents=True, exist_ok=True)
    with table.open("w", encoding="utf-8", newline="") as file:
        rows = ((f"What is {number} plus one?", f"It is {number + 1}.") for number in range(12))
        csv.writer(file).writerows([("question", "answer"), *rows])
    ways: dict[str, set[str]] = {}

    def step(verb: str, work: Callable[[], Any]) -> Any:
        with entered(package) as modules:
            done = work()
        ways[verb] = ways.get(verb, set()) | modules
        return done

    with entered(package) as around, idle_service(home / "service") as http:
        around.clear()  # what the service does before anybody asks
        client = OpenAI(base_url="http://127.0.0.1/openai/v1/", api_key=KEY, http_client=http, max_retries=0)
        dataset = step("read", lambda: wb.read(table, question="question", answer="answer"))
        step("check", lambda: wb.check(dataset))
        job = step(
            "start",
            lambda: wb.launch(
                client, wb.JobSpec(dataset, model="nano", hyperparameters={"n_epochs": 1, "batch_size": 4})
            ),
        )
        step("train", lambda: train(home / "service", models_in(home), job.id))
        *_, last = step("follow", lambda: list(wb.follow(client, job.id, poll_seconds=0.01)))
        step("draw", lambda: wb.plot(last.curve)._repr_mimebundle_())
        assert last.job.status == "succeeded", last.job.error
        ways["service"] = set(around)
    ways["train"].add(STARTS_THE_WORKER)
    return ways


def main() -> None:
    """Print what each verb enters, and all of them."""
    with tempfile.TemporaryDirectory() as folder:
        ways = walk(Path(folder))
    seen: set[str] = set()
    for verb, modules in ways.items():
        print(f"{verb}: {len(modules)} modules, {len(modules - seen)} of them new")
        print("    " + "\n    ".join(sorted(modules - seen)))
        seen |= modules
    needed = set().union(*(modules for verb, modules in ways.items() if verb != "check"))
    print(f"{len(needed)} modules from `read` to the drawn point, {MOST} at most; {len(seen)} with the check")


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent.parent))
    main()
