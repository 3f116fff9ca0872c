"""Define names, columns and manifest of a folder that `argus prepare` wrote: all that is needed to read one."""

from pathlib import Path
from typing import Any

import datasets

from ..storage.foreign_files import ForeignFileError, read_json_object

MANIFEST = "manifest.json"
MAX_MANIFEST_BYTES = 64 << 20  # it lists every file of the folder
DATA, DECISIONS, LOGS = "data", "decisions", "logs"
SPLITS = ("train", "validation", "test")

PREPARED_FEATURES = datasets.Features(
    {
        "scan_id": datasets.Value("string"),
        "source": datasets.Value("string"),
        "patient_id": datasets.Value("string"),
        "image": datasets.Nifti(),
        "report": datasets.Value("string"),
        "num_tokens": datasets.Value("int32"),
        "shape": datasets.List(datasets.Value("int32"), length=3),
        "spacing_mm": datasets.List(datasets.Value("float32"), length=3),
    }
)
DECISION_FEATURES = datasets.Features(
    {
        "source": datasets.Value("string"),
        "scan_id": datasets.Value("string"),
        "split": datasets.Value("string"),
        "reason": datasets.Value("string"),
        "num_sentences": datasets.Value("int32"),
        "kept_sentences": datasets.List(datasets.Value("int32")),
    }
)


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return a prepared folder's manifest.

    Raises:
        ValueError: if the folder was not made by `argus prepare`, or its manifest is damaged.
    """
    damaged = ValueError(f"{folder / MANIFEST}: damaged; run argus prepare again")
    try:
        manifest = read_json_object(folder / MANIFEST, MAX_MANIFEST_BYTES, max_values=None)
    except FileNotFoundError:
        raise ValueError(f"{folder}: no {MANIFEST}, so this is no prepared data set; run argus prepare") from None
    except ForeignFileError:
        raise damaged from None
    if not isinstance(manifest.get("counts"), dict):
        raise damaged
    return manifest
