"""The three errors of the workbench: each message names the place, the finding and the way out.

Errors of the ``openai`` client are not wrapped: they reach the caller as they are. Apart because every
other module raises one of these, and none of them imports anything.
"""


class WorkbenchError(Exception):
    """Something stopped us that the user can put right; the message says how."""


class DataError(WorkbenchError, ValueError):
    """The user's data cannot be used as it is; the message names file, line and fix."""


class SetupError(WorkbenchError, RuntimeError):
    """The machine, the account or the service is not ready; the message names what is missing."""
