"""The three errors of the workbench: each message names the place, the finding and the way out.

Errors of the ``openai`` client are not wrapped: they reach the caller as they are. Apart because every
other module raises one of these, and none of them imports anything of ours.
"""

from collections.abc import Iterable


class WorkbenchError(Exception):
    """Something stopped us that the user can put right; the message says how."""


class DataError(WorkbenchError, ValueError):
    """The user's data cannot be used as it is; the message names file, line and fix."""


class SetupError(WorkbenchError, RuntimeError):
    """The machine, the account or the service is not ready; the message names what is missing."""


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """``" Did you mean MODEL?"``, to stand behind a sentence; empty where nothing known is near."""
    from difflib import get_close_matches

    names = {name.lower(): name for name in known}
    near = get_close_matches(given.lower(), names, 1)
    return f" Did you mean {names[near[0]]}?" if near else ""
