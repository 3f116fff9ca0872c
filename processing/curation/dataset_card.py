"""Write the data set cards, `hub_cards/dataset_card.md` with values from the manifest, and a figure of the reports."""

import json
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path, PureWindowsPath
from typing import Any

from huggingface_hub import DatasetCard, DatasetCardData

from ..storage.card_file import CARD
from .overview.report_figure import save_report_figure
from .prepared_folder import DECISIONS, SPLITS

CARDS = "argus_hub_cards"
TEMPLATE, RULES = "dataset_card.md", "sentence_rules.json"
FIGURE = "reports.png"
LICENCE_FILE = "LICENSE.md"
_METADATA: dict[str, Any] = {
    "language": "en",
    "pretty_name": "CT-3DRRG",
    "tags": ["medical", "radiology", "ct", "3d", "report-generation"],
}


def card_configs(sources: Sequence[str], splits_of: dict[str, list[str]], content: str) -> list[dict[str, Any]]:
    """Return the `configs` of the card's YAML, so that plain `load_dataset(FOLDER, NAME)` finds the files.

    `content` identifies the data: `datasets` caches a folder by its name and these lines only, and would otherwise
    return the old rows of a folder that was prepared again.
    """
    configs = []
    for name in ("all", *sources):
        members = sources if name == "all" else [name]
        data_files = [
            {
                "split": split,
                "path": [f"data/{source}/{split}-*.parquet" for source in members if split in splits_of[source]],
            }
            for split in SPLITS
            if any(split in splits_of[source] for source in members)
        ]
        config = {"config_name": name, "description": f"content {content}", "data_files": data_files}
        configs.append(config | ({"default": True} if name == "all" else {}))
    return configs


def decision_configs(sources: Sequence[str]) -> list[dict[str, Any]]:
    """Return the `configs` of published decisions: all in one, which `load_dataset(REPO)` takes, and one a source.

    In the first each source is a split, whose name may hold no hyphen.
    """
    files = {source: f"{DECISIONS}/{source}.parquet" for source in sources}
    splits = [{"split": source.replace("-", "_"), "path": path} for source, path in files.items()]
    every = {"config_name": DECISIONS, "data_files": splits, "default": True}
    return [every, *({"config_name": f"{DECISIONS}-{source}", "data_files": path} for source, path in files.items())]


def size_category(num_rows: int) -> str:
    """Return the Hub's name for a number of rows."""
    limits = {"n<1K": 1e3, "1K<n<10K": 1e4, "10K<n<100K": 1e5, "100K<n<1M": 1e6}
    return next((name for name, limit in limits.items() if num_rows < limit), "n>1M")


def write_card(folder: Path, manifest: dict[str, Any], reports: Sequence[str]) -> None:
    """Write `README.md` and its figure into a prepared folder.

    Args:
        folder: folder of the data set.
        manifest: as `argus prepare` makes it, with counts, statistics and the content's name.
        reports: every kept report.
    """
    sources = list(manifest["counts"])
    save_report_figure(reports, folder / FIGURE)
    data = DatasetCardData(**_METADATA, license="other", configs=row_configs(sources, manifest))
    (folder / CARD).write_text(_rendered(data, manifest), encoding="utf-8")


def published_card(manifest: dict[str, Any], repo_id: str, with_data: Sequence[str]) -> str:
    """Return the card of what is published of a prepared folder.

    From its metadata and the Parquet files the Hub makes the Croissant description itself. The licence is a file beside
    it, since each source has its own.

    Args:
        manifest: the prepared folder's manifest.
        repo_id: repository, as `load_dataset` takes it.
        with_data: sources whose rows are published too.
    """
    sources = list(manifest["counts"])
    kept = [config for config in row_configs(sources, manifest) if config["config_name"] in with_data]
    data = DatasetCardData(
        **_METADATA,
        license="other",
        license_name="terms-of-each-source",
        license_link=LICENCE_FILE,
        annotations_creators=["machine-generated"],
        language_creators=["expert-generated"],
        size_categories=[size_category(manifest["statistics"]["all"]["scans"])],
        task_categories=["image-to-text"],
        configs=decision_configs(sources) + kept,
    )
    return _rendered(data, manifest, repo_id=repo_id, with_data=list(with_data))


def row_configs(sources: Sequence[str], manifest: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the `configs` of a prepared folder's rows."""
    splits_of = {source: [split for split in SPLITS if manifest["counts"][source][split]] for source in sources}
    return card_configs(sources, splits_of, manifest["content"])


def _judge_of(manifest: dict[str, Any]) -> str:
    """Return the judge's name; of a model that was given as a folder, the folder's alone."""
    name = manifest["judge"]
    is_folder = name.startswith(("/", ".", "~")) or PureWindowsPath(name).is_absolute()
    return PureWindowsPath(name).name if is_folder else name


def _rendered(data: DatasetCardData, manifest: dict[str, Any], **more: Any) -> str:
    cards = files(CARDS)
    card = DatasetCard.from_template(
        data,
        template_str=(cards / TEMPLATE).read_text(encoding="utf-8"),
        statistics=manifest["statistics"],
        counts=manifest["counts"],
        judge=_judge_of(manifest),
        cost=manifest["cost_of_rules"],
        cost_rules=sorted({rule for row in manifest["cost_of_rules"].values() for rule in row["tokens_dropped"]}),
        splits=SPLITS,
        rules=json.loads((cards / RULES).read_text(encoding="utf-8")),
        figure=FIGURE,
        **more,
    )
    return str(card)
