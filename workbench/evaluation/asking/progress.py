"""A bar that shows how far asking or grading is, in a notebook, a terminal, and a log."""

from collections.abc import Iterable
from typing import TypeVar

from workbench.settings import setting

T = TypeVar("T")


def progress_bar(things: Iterable[T], total: int, what: str) -> Iterable[T]:
    """Show how far it is, if it takes longer than two seconds; what comes from the cache does not."""
    from tqdm.auto import tqdm as widget
    from tqdm.std import tqdm as text

    # Headless, a line of text now and then: whoever runs the notebook shows it, and keeps it short.
    if setting("WORKBENCH_HEADLESS") == "1":
        return text(things, total=total, desc=what, unit="item", mininterval=5, delay=2)
    bar: Iterable[T] = widget(things, total=total, desc=what, unit="item", delay=2)
    return bar
