"""Define the options that several commands of `argus` share, and print their messages and results."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from argus_inference.console.plain_text import plain, plain_lines

if TYPE_CHECKING:
    from argus_inference.anonymous_paths import PathNames
    from argus_inference.model_folder import Loading

NOTICE = "Argus is research software, not a medical device: do not base care on its reports."

ModelOption = Annotated[Path, typer.Option("--model", help="Folder of a saved model.")]
TokensOption = Annotated[int, typer.Option(min=1, help="Longest report in tokens; a cut report is marked.")]
# The library holds the list of each choice too, but takes too long to import for --help; a test compares them.
Dtype = Literal["float32", "bfloat16", "float16"]
DtypeOption = Annotated[
    Dtype | None, typer.Option(help="Data type of the model. Default: as saved on a GPU, float32 on a CPU.")
]
Bits = Literal[8, 4]
BitsOption = Annotated[Bits | None, typer.Option(help="Bits of the language model's weights.")]
StaticOption = Annotated[bool, typer.Option("--static-cache", help="Key-value cache of fixed size; compiled on a GPU.")]
DeviceMap = Literal["auto"]
DeviceMapOption = Annotated[
    DeviceMap | None, typer.Option(help="auto: spread the layers of one model over all GPUs, for 70B.")
]
Engine = Literal["transformers", "vllm"]
EngineOption = Annotated[
    Engine,
    typer.Option(help="Library that runs the model: transformers, in this process, or vLLM, which batches reports."),
]
EngineOptionsOption = Annotated[
    list[str] | None,
    typer.Option("--engine-option", help="Option of vLLM as NAME=VALUE, such as max_num_seqs=64; repeatable."),
]
AdapterOption = Annotated[
    Path | None, typer.Option(help="LoRA adapter of the language model, as peft saves it (--engine vllm).")
]
AllowedHostOption = Annotated[
    list[str] | None,
    typer.Option("--allowed-host", help="Another host name that the server answers to; repeatable."),
]
TrustOption = Annotated[
    bool,
    typer.Option("--trust-remote-code", help="Run the code in a model's folder; only if you trust its author."),
]
LlmOption = Annotated[
    Path | None,
    typer.Option("--llm", help="Language model as argus export-gguf wrote it, which llama.cpp runs on the CPU."),
]
BatchOption = Annotated[int, typer.Option(min=1, help="Number of scans whose reports are generated together.")]


AnonymousOption = Annotated[
    bool, typer.Option("--anonymous-paths", help="In the output, name scans by a keyed hash instead of path or id.")
]


def say(message: str) -> None:
    """Print one line to stderr, without characters that control a terminal."""
    print(f"argus: {plain(message)}", file=sys.stderr)


ClinicalJudgeOption = Annotated[
    str | None, typer.Option(help="Chat model that judges reports, at an OpenAI-compatible address: URL#MODEL.")
]


def tell(text: str) -> None:
    """Print results to stdout, without characters that control a terminal."""
    print(plain_lines(text))


def check_engine(engine: str, engine_options: list[str] | None, adapter: Path | None) -> None:
    """Refuse options of vLLM without it, before anything is loaded.

    Raises:
        ValueError: naming the engine.
    """
    if engine != "vllm" and (engine_options or adapter is not None):
        raise ValueError("--engine-option and --adapter belong to --engine vllm")


def check_llm(llm: Path | None, loading: "Loading", evidence: object) -> None:
    """Refuse options that a language model in llama.cpp does not have, before anything is loaded.

    Raises:
        ValueError: naming them.
    """
    if llm is None:
        return
    if loading != type(loading)():
        raise ValueError(
            "--llm is a language model with its own data type, on the CPU: --dtype, --bits, --static-cache, "
            "--device-map and --trust-remote-code do not go with it"
        )
    if evidence:
        raise ValueError("--llm does not go with --evidence, which needs gradients; leave one out")


def path_names(wanted: bool) -> "PathNames | None":
    """Return the object that gives scans opaque names, or None if opaque names are not wanted."""
    if not wanted:
        return None
    from argus_inference.anonymous_paths import PathNames, read_key

    return PathNames(read_key())


def take_any_letter() -> None:
    """Make stdout and stderr write escapes for letters that their encoding lacks, instead of failing at the end."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def quiet() -> None:
    """Turn off the libraries' messages and progress bars; errors are still raised as exceptions."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    if not sys.stderr.isatty():
        os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
