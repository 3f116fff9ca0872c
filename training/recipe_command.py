"""Read recipes within limits and report errors in one line: parts that the training commands share."""

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from trl import TrlParser

from argus_processing.failures import explain
from argus_processing.storage.foreign_files import read_yaml_object
from argus_training.training_progress import keep_bars_on_terminals


def recipe_parser(*settings: Any, description: str | None) -> TrlParser:
    """Return TRL's parser of recipes for dataclasses of settings."""
    return TrlParser(settings, description=description)


def parse_recipe(parser: TrlParser, arguments: Sequence[str] | None = None) -> tuple[Any, ...]:
    """Parse the recipe and the command line; the recipe is checked before TRL reads it.

    Raises:
        FileNotFoundError, ValueError: if the recipe cannot be read.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    for place, argument in enumerate(given):
        name, _, value = argument.partition("=")
        if name == "--config":
            path = value or (given[place + 1] if place + 1 < len(given) else "")
            if path:
                read_yaml_object(Path(path))
    try:
        return parser.parse_args_and_config(args=given)
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"the recipe: a setting is not of its kind ({error})") from None


def run_command(name: str, command: Callable[[], Any]) -> None:
    """Run a training command; an error that the user can fix ends in one line on stderr and exit code 2.

    If ARGUS_DEBUG is set in the environment, the traceback is shown.
    """
    keep_bars_on_terminals()
    try:
        command()
    except Exception as error:
        said = None if os.environ.get("ARGUS_DEBUG") else explain(error)
        if said is None:
            raise
        print(f"{name}: {said}", file=sys.stderr)
        sys.exit(2)
