"""Options that several commands of `argus` have, and how they speak to a person."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

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


def say(message: str) -> None:
    """Print one line to stderr."""
    print(f"argus: {message}", file=sys.stderr)


def quiet() -> None:
    """Keep the libraries' notes and bars away; errors still come as exceptions."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
