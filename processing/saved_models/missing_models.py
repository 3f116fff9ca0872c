"""Tell how to get a model that is not there, in one line, in place of an error of the Hub's client."""

import functools
import re
from pathlib import Path
from typing import Any

from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModel,
    AutoModelForImageTextToText,
    AutoModelForMultimodalLM,
    AutoProcessor,
)

_PRESET = re.compile(r"argus-\w+(?:-[nh]r)?")
_AUTO_CLASSES: tuple[Any, ...] = (
    *(AutoConfig, AutoModel, AutoModelForImageTextToText, AutoModelForMultimodalLM, AutoProcessor),
    AutoImageProcessor,
)
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
    preset = f" {folder}" if _PRESET.fullmatch(folder) else ""
    return FileNotFoundError(
        f"{given}: no such model folder{place}; give one that training or `argus create{preset}` wrote, or fetch a "
        f"published one: hf download {repository} --local-dir {folder}"
    )


def tell_of_missing_presets() -> None:
    """Let the Auto classes tell how to get a model if a preset's name is given and there is no such folder.

    A preset's name, such as "argus-8b-hr", has no owner and so can be no repository of the Hub; transformers' own error
    speaks of tokens and connections. Every other error stays as it is.
    """
    for auto_class in _AUTO_CLASSES:
        if not hasattr(auto_class.from_pretrained, "tells_of_missing_presets"):
            auto_class.from_pretrained = _telling(auto_class.from_pretrained.__func__)


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
