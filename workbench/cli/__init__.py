"""The commands of ``python -m workbench``, by subject; each is a few lines over the package.

Here is what they share: ``--json``, and one sentence on stderr with exit code 2 for what the user can
put right.
"""

import sys
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from workbench.errors import WorkbenchError

AsJson = Annotated[bool, typer.Option("--json", help="Print exactly one JSON object on stdout, at the end.")]
Home = Annotated[Path | None, typer.Option(help="The folder that holds all its state; else WORKBENCH_HOME.")]


class OneSentence(TyperGroup):
    """Commands that end with one sentence in place of a traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command; what the user can put right ends it with exit code 2."""
        try:
            return super().invoke(ctx)
        except WorkbenchError as error:
            self._say(error, str(error))
        except _client_errors() as error:
            self._say(error, f"The service did not do it: {error}")
        raise typer.Exit(2)

    def _say(self, error: Exception, sentence: str) -> None:
        hints = getattr(error, "__notes__", ())  # what a misleading message of the service mostly means
        typer.echo("\n".join([sentence, *hints]), err=True)


class NameAndValue(TyperCommand):
    """A command whose ``-p`` takes two words, a name and a value; typer's options take one."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Join the two words behind each ``-p``."""
        words, joined = iter(args), list[str]()
        for word in words:
            joined.append(word)
            if word in {"-p", "--parameter"}:
                joined.append(" ".join(islice(words, 2)))
        return super().parse_args(ctx, joined)


def _client_errors() -> tuple[type[Exception], ...]:
    """The openai client's errors; nothing where it was never imported, so that no command waits for it."""
    openai = sys.modules.get("openai")
    return () if openai is None else (openai.OpenAIError,)
