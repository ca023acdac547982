"""The commands of ``python -m workbench``, by subject; each is a few lines over the package.

Here is what they share: ``--json``, and one sentence on stderr with exit code 2 for what the user can
put right.
"""

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from workbench.errors import DataError, WorkbenchError

AsJson = Annotated[bool, typer.Option("--json", help="Print exactly one JSON object on stdout, at the end.")]
ProviderName = Annotated[
    str | None, typer.Option("--provider", help="local, azure or openai; else WORKBENCH_PROVIDER.")
]
Home = Annotated[Path | None, typer.Option(help="The folder that holds all its state; else WORKBENCH_HOME.")]

JOURNEY: Mapping[str, tuple[str, ...]] = {
    "Projects": ("lab", "new", "run", "projects", "report"),
    "Decision": ("decide", "payback", "forecast", "models"),
    "Training data": ("check", "build", "fix", "undo"),
    "Training": ("jobs", "diagnose"),
    "Evaluation": ("evaluate", "compare", "ask"),
    "Deployment": ("export", "monitor", "replay", "costs", "cleanup"),
    "Service and programs": ("check-connection", "service", "guide"),
}
"""The commands by subject, in the order in which one needs them; a new command is named here."""


class OneSentence(TyperGroup):
    """Commands that end with one sentence in place of a traceback."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """List the commands under the subjects of ``JOURNEY``, those of no subject at the end."""
        limit = formatter.width - 6 - max(map(len, self.commands))
        named = {name for names in JOURNEY.values() for name in names}
        more = tuple(name for name in self.commands if name not in named)
        for subject, names in {**JOURNEY, "More": more}.items():
            found = {name: self.commands[name] for name in names if name in self.commands}
            if found:
                with formatter.section(subject):
                    formatter.write_dl(
                        [(name, each.get_short_help_str(limit)) for name, each in found.items()]
                    )

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
    """A command whose ``-p`` takes ``NAME=VALUE``, or a name and a value; its help lists the names."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Make one word, ``NAME=VALUE``, of what stands behind each ``-p``."""
        words, joined = iter(args), list[str]()
        for word in words:
            joined.append(word)
            if word in _PARAMETER:
                given = next(words, "")
                if not _NAME_AND_VALUE.match(given):
                    value = next(words, None)
                    if value is None or value in _PARAMETER or given in _PARAMETER:
                        raise DataError("-p takes a name and a value: -p MODEL nano, or -p MODEL=nano.")
                    given = f"{given}={value}"
                joined.append(given)
        return super().parse_args(ctx, joined)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Name every parameter, with its meaning as the notebooks give it."""
        from workbench import runner
        from workbench.task import PARAMETERS, SETTINGS

        found: dict[str, str] = {}
        for path in runner.notebooks():
            for name, meaning in runner.parameters_of(path).items():
                found.setdefault(name, f"{meaning} ({path.name[:2]})")
        meanings = ((each.name.upper(), str(each.metadata["meaning"])) for each in SETTINGS)
        settings = {name: meaning for name, meaning in meanings if name in PARAMETERS}
        with formatter.section("Parameters of the notebooks, for -p; in brackets the first that has it"):
            formatter.write_dl(sorted((name, text) for name, text in found.items() if name not in settings))
        with formatter.section("Settings of the task, which -p changes for this run"):
            formatter.write_dl(list(settings.items()))


_PARAMETER = ("-p", "--parameter")
_NAME_AND_VALUE = re.compile(r"[A-Za-z_]\w*=")


def _client_errors() -> tuple[type[Exception], ...]:
    """The openai client's errors; nothing where it was never imported, so that no command waits for it."""
    openai = sys.modules.get("openai")
    return () if openai is None else (openai.OpenAIError,)
