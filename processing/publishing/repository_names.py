"""Name a model's repository by preset, tower, language model and stage, so that those of a collection sort well."""

import re

_TUNED = re.compile(r"[-_.](?:instruct|chat|it|base|hf)$", re.IGNORECASE)
_LLAMA = re.compile(r"(?:meta[-_])?llama[-_]?(\d+(?:\.\d+)?)", re.IGNORECASE)


def repository_name(preset: str, language_model: str = "", stage: str = "2", tower: str = "argus") -> str:
    """Return the name of a model's repository, such as "Llama-3.1-argus-8b-hr".

    The Llama licence asks that the name of a model made from a Llama begins with "Llama". Another language model stands
    behind the preset, whose size is that of the Llama in its place: "argus-8b-hr-qwen3-8b".

    Args:
        preset: preset, such as "argus-8b-hr".
        language_model: folder or id of the language model, such as "meta-llama/Llama-3.1-8B-Instruct". Default: one
            that was trained from scratch, and is not named.
        stage: "1" or "2"; the last stage is not named.
        tower: system whose vision tower sees, in place of "argus" in the preset's name.

    Raises:
        ValueError: if the preset's or the tower's name holds other letters than a repository's may.
    """
    name = preset.replace("argus", tower, 1)
    base = language_model.rstrip("/").rpartition("/")[2]
    while _TUNED.search(base):
        base = _TUNED.sub("", base)
    if llama := _LLAMA.match(base):
        name = f"Llama-{llama.group(1)}-{name}"
    elif base:
        name = f"{name}-{re.sub(r'[^a-z0-9.]+', '-', base.lower()).strip('-.')}"
    name = name if stage == "2" else f"{name}-stage{stage}"
    if not re.fullmatch(r"\w[\w.-]*", name, re.ASCII):
        raise ValueError(f"{preset}, {tower}: a repository's name holds letters, digits and - _ . only")
    return name
