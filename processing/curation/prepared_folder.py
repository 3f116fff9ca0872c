"""Define names, columns and manifest of a folder that `argus prepare` wrote: all that is needed to read one."""

import json
from pathlib import Path
from typing import Any

import datasets

MANIFEST = "manifest.json"
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
    try:
        return json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"{folder}: no {MANIFEST}, so this is no prepared data set; run argus prepare") from None
    except ValueError:
        raise ValueError(f"{folder / MANIFEST}: damaged; run argus prepare again") from None
