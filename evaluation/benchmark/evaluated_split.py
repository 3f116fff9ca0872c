"""Load a split of CT-3DRRG for evaluation, and the training reports that a control needs."""

from pathlib import Path
from typing import Any

import datasets

import argus_processing  # noqa: F401  registers the data set ct3drrg
from argus_processing.curation.prepared_folder import SPLITS


def load_split(
    subset: str,
    split: str,
    data_dir: Path | None = None,
    options: dict[str, Any] | None = None,
    limit: int | None = None,
) -> datasets.Dataset:
    """Load a split, or its first `limit` scans; `options` are settings of the subset's configuration.

    Raises:
        ValueError: if the split or the subset is unknown.
        FileNotFoundError: if `data_dir` does not exist.
    """
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}; choose from {', '.join(SPLITS)}")
    if data_dir is not None and not data_dir.is_dir():
        raise FileNotFoundError(f"{data_dir}: no such data folder; give the one that `argus prepare` wrote")
    where = {} if data_dir is None else {"data_dir": str(data_dir)}
    dataset = datasets.load_dataset("ct3drrg", subset, split=split, **where, **(options or {}))
    return dataset if limit is None else dataset.select(range(min(limit, len(dataset))))


def load_train_reports(subset: str, data_dir: Path | None = None, options: dict[str, Any] | None = None) -> list[str]:
    """Load the reports of the training split; no volume is opened."""
    return list(load_split(subset, "train", data_dir, options).select_columns("report")["report"])
