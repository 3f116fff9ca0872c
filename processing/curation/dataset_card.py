"""Write the data set card: `hub_cards/dataset_card.md` with values from the manifest, and a figure of the reports."""

import json
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from huggingface_hub import DatasetCard, DatasetCardData

from .overview.report_figure import save_report_figure
from .prepared_folder import SPLITS

CARDS = "argus_hub_cards"
TEMPLATE, RULES = "dataset_card.md", "sentence_rules.json"
FIGURE = "reports.png"


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


def write_card(folder: Path, manifest: dict[str, Any], reports: Sequence[str]) -> None:
    """Write `README.md` and its figure into a folder.

    Args:
        folder: folder of the data set.
        manifest: as `argus prepare` makes it, with counts, statistics and the content's name.
        reports: every kept report.
    """
    sources = list(manifest["counts"])
    splits_of = {source: [split for split in SPLITS if manifest["counts"][source][split]] for source in sources}
    save_report_figure(reports, folder / FIGURE)
    cards = files(CARDS)
    data = DatasetCardData(
        language="en",
        license="other",
        pretty_name="CT-3DRRG",
        tags=["medical", "radiology", "ct", "3d", "report-generation"],
        configs=card_configs(sources, splits_of, manifest["content"]),
    )
    card = DatasetCard.from_template(
        data,
        template_str=(cards / TEMPLATE).read_text(encoding="utf-8"),
        statistics=manifest["statistics"],
        counts=manifest["counts"],
        judge=manifest["judge"],
        cost=manifest["cost_of_rules"],
        cost_rules=sorted({rule for row in manifest["cost_of_rules"].values() for rule in row["tokens_dropped"]}),
        splits=SPLITS,
        rules=json.loads((cards / RULES).read_text(encoding="utf-8")),
        figure=FIGURE,
    )
    (folder / "README.md").write_text(str(card), encoding="utf-8")
