"""Options that several commands of `argus` have, and how they speak to a person."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from argus_inference.console.plain_text import plain, plain_lines

if TYPE_CHECKING:
    from argus_inference.anonymous_paths import PathNames

NOTICE = "Argus is research software, not a medical device: do not base care on its reports."

ModelOption = Annotated[Path, typer.Option("--model", help="Folder of a saved model.")]
TokensOption = Annotated[int, typer.Option(min=1, help="Where a report is cut; a cut report is flagged.")]
DtypeOption = Annotated[str | None, typer.Option(help="float32, bfloat16 or float16; by the device without it.")]
BitsOption = Annotated[int | None, typer.Option(help="8 or 4: the language model's weights in so many bits.")]
StaticOption = Annotated[bool, typer.Option("--static-cache", help="Fixed key-value cache; compiled on a GPU.")]
AllowedHostOption = Annotated[
    list[str] | None,
    typer.Option("--allowed-host", help="Another name that the server answers to; give it once for each."),
]
TrustOption = Annotated[
    bool,
    typer.Option("--trust-remote-code", help="Run code that comes with a model's folder, if you trust who made it."),
]
BatchOption = Annotated[int, typer.Option(min=1, help="Scans generated at a time.")]


AnonymousOption = Annotated[
    bool, typer.Option("--anonymous-paths", help="Name scans by a keyed hash, not by path or id, in what is written.")
]


def say(message: str) -> None:
    """Print one line to stderr, with nothing in it that acts on a terminal."""
    print(f"argus: {plain(message)}", file=sys.stderr)


def tell(text: str) -> None:
    """Print results to stdout, with nothing in them that acts on a terminal."""
    print(plain_lines(text))


def path_names(asked: bool) -> "PathNames | None":
    """Return what gives scans opaque names, if that was asked for."""
    if not asked:
        return None
    from argus_inference.anonymous_paths import PathNames, read_key

    return PathNames(read_key())


def take_any_letter() -> None:
    """Let stdout and stderr write out letters that their encoding lacks, rather than fail after the work is done."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def quiet() -> None:
    """Keep the libraries' notes and bars away; errors still come as exceptions."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
