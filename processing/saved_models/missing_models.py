"""Tell how to get a model that is not there, in one line, in place of an error of the Hub's client."""

import functools
import re
from pathlib import Path
from typing import Any

from transformers import (
    AutoConfig,
    AutoFeatureExtractor,
    AutoImageProcessor,
    AutoProcessor,
    AutoTokenizer,
)
from transformers.models.auto import modeling_auto

# A preset's name, or what a published model of it is named.
_PRESET = re.compile(r"(?:Llama-[\d.]+-)?(argus-\w+(?:-[nh]r)?)/?")
_REPOSITORY = re.compile(r"[\w-][\w.-]*/[\w.-]+")


def missing_model(source: str | Path, place: str = "") -> FileNotFoundError:
    """Return the error for a model folder that is not there, which says how to get one.

    Args:
        source: folder or id that was given.
        place: where else it was looked for, such as ", nor is it in the Hub's cache".
    """
    given = str(source)
    is_repository = bool(_REPOSITORY.fullmatch(given)) and not Path(given).parent.is_dir()
    repository = given if is_repository else "OWNER/NAME"
    folder = Path(given).name if is_repository else given
    named = _PRESET.fullmatch(folder)
    preset = f" {named[1]}" if named else ""
    return FileNotFoundError(
        f"{given}: no such model folder{place}; give one that training or `argus create{preset}` wrote, or fetch a "
        f"published one: hf download {repository} --local-dir {folder}"
    )


def tell_of_missing_presets() -> None:
    """Let every Auto class tell how to get a model if a preset's name is given and there is no such folder.

    A preset's name, such as "argus-8b-hr", has no owner and so can be no repository of the Hub; transformers' own error
    speaks of tokens and connections. Every other error stays as it is.
    """
    for owner in {_owner(auto_class): None for auto_class in _auto_classes()}:
        if not hasattr(owner.from_pretrained, "tells_of_missing_presets"):
            owner.from_pretrained = _telling(owner.from_pretrained.__func__)


def _auto_classes() -> list[Any]:
    """Return those for models of every task, and those for their parts."""
    of_models = [value for name, value in vars(modeling_auto).items() if name.startswith("Auto")]
    parts = [AutoConfig, AutoTokenizer, AutoProcessor, AutoImageProcessor, AutoFeatureExtractor]
    return [each for each in (*of_models, *parts) if hasattr(each, "from_pretrained")]


def _owner(auto_class: Any) -> Any:
    """Return the class that defines a class's `from_pretrained`: most inherit it."""
    return next(each for each in auto_class.__mro__ if "from_pretrained" in vars(each))


def _telling(from_pretrained: Any) -> Any:
    @functools.wraps(from_pretrained)
    def told(cls: Any, *arguments: Any, **options: Any) -> Any:
        try:
            return from_pretrained(cls, *arguments, **options)
        except (OSError, ValueError) as error:
            source = str(arguments[0] if arguments else options.get("pretrained_model_name_or_path", ""))
            if _PRESET.fullmatch(source) and not Path(source).exists():
                raise missing_model(source) from error
            raise

    vars(told)["tells_of_missing_presets"] = True
    return classmethod(told)
