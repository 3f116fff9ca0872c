"""Load saved models and processors: all loading goes through here, is checked first and runs none of their code."""

import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModelForImageTextToText,
    AutoProcessor,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    dynamic_module_utils,
)
from transformers.integrations.deepspeed import is_deepspeed_zero3_enabled
from transformers.utils import cached_file

from ..failures import is_stop
from ..storage.foreign_files import ForeignFileError
from .chat_template_check import check_template
from .missing_models import missing_model
from .model_folders import (
    CONFIG,
    GENERATION,
    OWN_CODE_ADVICE,
    REPORT_WRITER,
    ModelKind,
    check_configuration,
    check_model,
    check_processor,
    check_tokenizer,
)

# A weight packed into 4 bits is counted as half a byte, never as less.
_WEIGHTS_PER_BYTE = 8
_SLACK_WEIGHTS = 1 << 20
_MAX_MESSAGE = 200
_TRANSFORMERS = logging.getLogger("transformers")
_TOKEN_SETTINGS = (
    "eos_token_id",
    "pad_token_id",
    "bos_token_id",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "suppress_tokens",
    "begin_suppress_tokens",
    "bad_words_ids",
    "sequence_bias",
)
_SMALL_FILES = (
    GENERATION,
    "tokenizer_config.json",
    "tokenizer.json",
    "adapter_config.json",
    "model.safetensors.index.json",
    "pytorch_model.bin.index.json",
)


@contextmanager
def refusing(source: Any, advice: str = "copy it again") -> Iterator[None]:
    """Convert any error of a library on damaged or malicious files to one line, and prevent questions to the user.

    Raises:
        ForeignFileError: naming `source`, the cause and `advice`.
    """
    wait = dynamic_module_utils.TIME_OUT_REMOTE_CODE
    # With 0 transformers never asks on a terminal whether to run a folder's code.
    dynamic_module_utils.TIME_OUT_REMOTE_CODE = 0
    # It logs whole configurations in addition to an error.
    level = _TRANSFORMERS.level
    _TRANSFORMERS.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except ForeignFileError:
        raise
    except UnpicklingError:
        raise ForeignFileError(f"{source}: its pickled weights hold more than tensors; they are not read") from None
    except MemoryError:
        raise ForeignFileError(f"{source}: asks for more memory than there is") from None
    # Libraries in Rust raise a panic that is not an Exception.
    except BaseException as error:
        if is_stop(error):
            raise
        text = " ".join(re.sub(r"[^\x20-\x7e\n]", "?", str(error)).split())
        if "custom code" in text or "trust_remote_code" in text:
            raise ForeignFileError(f"{source}: brings its own code, which is not run; {OWN_CODE_ADVICE}") from error
        shown = text if len(text) <= _MAX_MESSAGE else f"{text[:_MAX_MESSAGE]}..."
        name = type(error).__name__
        raise ForeignFileError(
            f"{source}: cannot be loaded ({f'{name}: {shown}' if shown else name}); {advice}"
        ) from error
    finally:
        dynamic_module_utils.TIME_OUT_REMOTE_CODE = wait
        _TRANSFORMERS.setLevel(level)


def load_pretrained(
    auto_class: Any, source: str | Path, kind: ModelKind, *, trust: bool = False, **arguments: Any
) -> PreTrainedModel:
    """Load a model with all weights that its configuration asks for, from its own files only.

    Args:
        auto_class: such as `AutoModelForCausalLM`, or a model's own class.
        source: folder, or id on the Hub.
        kind: kind of model that it must be.
        trust: whether to run the code that comes with it.
        **arguments: arguments of `from_pretrained`.

    Raises:
        FileNotFoundError: if the folder does not exist.
        ForeignFileError: naming the file, the cause and what to do.
    """
    local = Path(source).is_dir()
    if local:
        files = check_model(Path(source), kind, trust)
        _check_declared_size(auto_class, Path(source), files, trust)
    else:
        check_configuration(_small_files_of(source), kind, trust)
    with refusing(source):
        model, loaded = auto_class.from_pretrained(
            source,
            trust_remote_code=trust,
            local_files_only=local,
            output_loading_info=True,
            # Loaded in any case, and refused below with their names.
            ignore_mismatched_sizes=True,
            **arguments,
        )
    _check_complete(source, kind, loaded)
    return model


def load_config(source: str | Path, kind: ModelKind, trust: bool = False) -> Any:
    """Load a model's configuration; raises as `load_pretrained`."""
    local = Path(source).is_dir()
    check_configuration(Path(source) if local else _small_files_of(source), kind, trust)
    with refusing(source):
        return AutoConfig.from_pretrained(source, trust_remote_code=trust, local_files_only=local)


def build_model(auto_class: Any, folder: Path, kind: ModelKind, weights: list[Path]) -> PreTrainedModel:
    """Build a model from its configuration only; it must not be larger than the files in `weights` can hold.

    Raises:
        ForeignFileError: as `load_pretrained`.
    """
    config = load_config(folder, kind)
    _check_declared_size(auto_class, folder, weights, trust=False)
    with refusing(folder):
        return auto_class.from_config(config, trust_remote_code=False)


def load_tokenizer(source: str | Path, *, trust: bool = False, **arguments: Any) -> PreTrainedTokenizerBase:
    """Load a tokenizer; raises as `load_pretrained`."""
    local = Path(source).is_dir()
    check_tokenizer(Path(source) if local else _small_files_of(source), trust)
    with refusing(source):
        return AutoTokenizer.from_pretrained(source, trust_remote_code=trust, local_files_only=local, **arguments)


def load_processor(folder: str | Path, trust: bool = False) -> Any:
    """Load an Argus processor and check its chat template; raises as `load_pretrained`."""
    check_processor(Path(folder), trust)
    with refusing(folder):
        processor = AutoProcessor.from_pretrained(folder, trust_remote_code=trust, local_files_only=True)
    check_template(processor.chat_template, folder)
    _check_prompt(folder, processor)
    return processor


def _check_prompt(folder: str | Path, processor: Any) -> None:
    """Check that the chat template makes a prompt from a scan and an instruction."""
    parts = [{"type": "image"}, {"type": "text", "text": "Describe the scan."}]
    with refusing(folder, "argus create writes a chat template that is used"):
        prompt = processor.apply_chat_template([{"role": "user", "content": parts}], add_generation_prompt=True)
    if prompt.count(processor.image_token) != 1:
        raise ForeignFileError(
            f"{folder}: its chat template puts no placeholder where a scan stands; argus create writes one that does"
        )


def load_image_processor(folder: str | Path, trust: bool = False) -> Any:
    """Load an Argus image processor; raises as `load_pretrained`."""
    check_processor(Path(folder), trust)
    with refusing(folder):
        return AutoImageProcessor.from_pretrained(folder, trust_remote_code=trust, local_files_only=True)


def check_fit(folder: str | Path, model: PreTrainedModel, processor: Any) -> None:
    """Check that a model and a processor belong together, and that all special tokens are in the vocabulary.

    Raises:
        ForeignFileError: naming the two numbers that differ, or the token.
    """
    pairs = {
        "visual tokens": (model.model.connector.num_tokens, processor.num_image_tokens),
        "the grid": (list(model.config.vision_config.image_size), list(processor.image_processor.image_size)),
        "the placeholder": (model.config.image_token_id, processor.image_token_id),
    }
    for name, (ours, theirs) in pairs.items():
        if ours != theirs:
            raise ForeignFileError(
                f"{folder}: {name} of model and processor differ, {ours} and {theirs}; copy it again"
            )

    _check_tokens(Path(folder) / GENERATION, model.generation_config, model.config.text_config.vocab_size)


def _check_tokens(path: Path, generation: Any, vocabulary: int) -> None:
    """Check that a generation configuration has an end token and only tokens of the vocabulary."""
    for name in _TOKEN_SETTINGS:
        tokens = _flat(getattr(generation, name, None))
        if name == "eos_token_id" and not tokens:
            raise ForeignFileError(f"{path}: {name} names no token that ends a report; copy it again")
        if above := [token for token in tokens if token >= vocabulary]:
            raise ForeignFileError(f"{path}: {name} names token {above[0]:,} of a vocabulary of {vocabulary:,}")


def _flat(tokens: Any) -> list[int]:
    """Return all numbers in nested lists of tokens."""
    if isinstance(tokens, list | tuple):
        return [token for inner in tokens for token in _flat(inner)]
    return [tokens] if isinstance(tokens, int) else []


def _check_declared_size(auto_class: Any, folder: Path, files: list[Path], trust: bool) -> None:
    """Refuse a configuration that asks for far more weights than its files can hold, before they are allocated."""
    # Not under ZeRO-3, where a model is sharded as it is built, nor with code of its own, which building would run.
    if trust or is_deepspeed_zero3_enabled():
        return
    with refusing(folder / CONFIG, "correct it"):
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
        with torch.device("meta"):
            build = getattr(auto_class, "from_config", None)
            model = build(config, trust_remote_code=False) if build else auto_class(config)
    declared = sum(tensor.numel() for tensors in (model.parameters(), model.buffers()) for tensor in tensors)
    held = _WEIGHTS_PER_BYTE * sum(file.stat().st_size for file in files) + _SLACK_WEIGHTS
    if declared > held:
        raise ForeignFileError(
            f"{folder / CONFIG}: asks for {declared:,} weights, many more than its files can hold; copy it again"
        )


def shapes_of_weights(folder: Path) -> dict[str, tuple[int, ...]] | None:
    """Return name and shape of each weight that a saved report writer's configuration asks for.

    None for a quantized model, whose files hold other tensors than its configuration tells.

    Raises:
        ForeignFileError: as `load_config`.
    """
    config = load_config(folder, REPORT_WRITER)
    if getattr(config, "quantization_config", None) is not None:
        return None
    with refusing(folder / CONFIG, "correct it"), torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(config, trust_remote_code=False)
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}


def _check_complete(source: str | Path, kind: ModelKind, loaded: dict[str, Any]) -> None:
    """Check that no weights are missing or unexpected; an unused pooler may be missing."""
    missing = sorted(name for name in loaded["missing_keys"] if kind.of_argus or "pooler." not in name)
    odd = {"lacks": missing, "has another shape for": sorted(str(entry[0]) for entry in loaded["mismatched_keys"])}
    if kind.of_argus:
        odd["does not know"] = sorted(loaded["unexpected_keys"])
    for problem, names in odd.items():
        if names:
            raise ForeignFileError(
                f"{source}: {problem} {len(names)} weights of {kind.name}, the first is {names[0][:80]}; copy it again"
            )


def _small_files_of(source: str | Path) -> Path:
    """Return the folder in the Hub's cache that holds a model's configuration files."""
    quiet = {f"_raise_exceptions_for_{what}": False for what in ("missing_entries", "connection_errors", "gated_repo")}
    try:
        config = cached_file(str(source), CONFIG)
    except (OSError, ValueError):
        config = None
    if config is None:
        raise missing_model(source, ", and the Hub and its cache have none of that name")
    for name in _SMALL_FILES:
        cached_file(str(source), name, **quiet)
    return Path(config).parent
