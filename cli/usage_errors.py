"""Print errors in the arguments of `argus` in one line: the argument, the value given, the known names."""

from typing import Any

import typer

from .options import say


def tell_usage(error: typer.TyperException) -> int:
    """Print what is wrong with the command's arguments as one line; return the exit code.

    Nothing is printed if there were no arguments at all: the help has been shown then.
    """
    told = error.format_message().replace("Value error, ", "").rstrip(".")
    context = getattr(error, "ctx", None)
    if told:
        place = f"; see {context.command_path} --help" if context else ""
        say(f"{told}{_given(error, told)}{_known(context, told)}{place}")
    return error.exit_code


def _given(error: typer.TyperException, told: str) -> str:
    """Return a refused value in quotes, if the error message does not hold it: pydantic's messages not always do."""
    if not isinstance(error.__cause__, ValueError):
        return ""
    values = [str(each["input"]) for each in getattr(error.__cause__, "errors", list)()]
    return "".join(f", got {value!r}" for value in values if repr(value) not in told)


def _known(context: Any, told: str) -> str:
    """Return the known commands or options, if an unknown one was given."""
    if told.startswith("No such command"):
        names = context.command.list_commands(context)
    elif told.startswith("No such option"):
        names = [name for parameter in context.command.params for name in parameter.opts if name.startswith("-")]
    else:
        return ""
    return f"; known: {', '.join(names)}"
