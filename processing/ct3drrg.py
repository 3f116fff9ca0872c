"""Build the CT-3DRRG data set for `datasets`: `load_dataset("ct3drrg", NAME)` from any folder.

`datasets` has no loading scripts any more, so `register` adds the builder to its packaged ones under the bare name.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import datasets.load
import pyarrow.parquet as pq
from datasets.data_files import DataFilesDict
from datasets.packaged_modules import _PACKAGED_DATASETS_MODULES

from .curation.prepared_folder import DATA, MANIFEST, PREPARED_FEATURES, SPLITS, read_manifest
from .phantom.files import scan_id_of, write_phantom
from .phantom.findings import known_labels
from .phantom.scans import report_of, truth_of
from .scan_types import ScanReader
from .sources.registry import SOURCES
from .storage.file_hash import hash_file, hash_joined

NAME = "ct3drrg"
_VERSION = datasets.Version("1.0.0")
_SEEDS_PER_SPLIT = 1_000_000
_VOLUME_CODE = tuple(
    f"phantom/{name}.py" for name in ("scans", "canvas", "anatomy", "places", "lung_patterns", "findings", "files")
)
_TABLE_CODE = ("phantom/wording.py", "curation/prepared_folder.py", "ct3drrg.py")

PHANTOM_FEATURES = datasets.Features(
    {
        "scan_id": datasets.Value("string"),
        "image": datasets.Nifti(),
        "report": datasets.Value("string"),
        "findings": [
            {"label": datasets.Value("string"), "side": datasets.Value("string"), "place": datasets.Value("string")}
        ],
    }
)


class CT3DRRGConfig(datasets.BuilderConfig):
    """A source of the data set. A new source overrides both methods and is added to `CT3DRRG.BUILDER_CONFIGS`."""

    def split_items(self, split: str) -> list[Any]:
        """Return the items of a split: scans, or files of scans; `num_proc` divides this list."""
        raise NotImplementedError

    def examples(self, item: Any, volume_folder: Path) -> Iterator[dict[str, Any]]:
        """Yield the rows of an item; volumes that are made, not read, go into `volume_folder`."""
        raise NotImplementedError

    @property
    def features(self) -> datasets.Features:
        """Return the columns of a row."""
        raise NotImplementedError


@dataclass
class PhantomConfig(CT3DRRGConfig):
    """Synthetic scans that are made when the data set is built.

    Attributes:
        seed: another seed gives other patients.
        num_train, num_validation, num_test: scans in each split; no patient is in two of them.
        spacing_mm: voxel spacing along (D, H, W). Default: about (5, 3, 3), drawn for each scan.
        labels: findings that the patients may have, and that the reports call absent where they are. Default: all 18.
    """

    seed: int = 0
    num_train: int = 240
    num_validation: int = 40
    num_test: int = 40
    spacing_mm: tuple[float, float, float] | None = None
    labels: list[str] | None = None

    def split_items(self, split: str) -> list[int]:
        """Return the phantom seeds of a split.

        Raises:
            ValueError: if the seed is negative or a split's size is out of range.
        """
        size = getattr(self, f"num_{split}")
        if self.seed < 0 or not 0 <= size <= _SEEDS_PER_SPLIT:
            raise ValueError(f"phantom needs seed >= 0 and 0 to {_SEEDS_PER_SPLIT} scans, got {self.seed} and {size}")
        first = (self.seed * len(SPLITS) + SPLITS.index(split)) * _SEEDS_PER_SPLIT
        return list(range(first, first + size))

    @property
    def features(self) -> datasets.Features:
        """Return the columns: scan id, image, report, and the true findings."""
        return PHANTOM_FEATURES

    def examples(self, item: int, volume_folder: Path) -> Iterator[dict[str, Any]]:
        """Make one phantom, unless its volume exists already, and yield its row."""
        spacing = tuple(self.spacing_mm) if self.spacing_mm else None
        truth = truth_of(item, self.labels)
        grid = "x".join(f"{step:g}" for step in spacing) if spacing else "drawn"
        folder = volume_folder / (grid if self.labels is None else f"{grid}-{_hash_of(known_labels(self.labels))}")
        scan_id = scan_id_of(item)
        path = folder / f"{scan_id}.nii.gz"
        if not path.exists():
            write_phantom(folder, item, spacing, labels=self.labels)
        findings = [{"label": f.label, "side": f.side, "place": f.place} for f in truth]
        yield {
            "scan_id": scan_id,
            "image": str(path),
            "report": report_of(item, self.labels),
            "findings": findings,
        }


@dataclass
class PreparedConfig(CT3DRRGConfig):
    """A source, or all sources, as curated by `argus prepare` into the folder `data_dir`."""

    @property
    def features(self) -> datasets.Features:
        """Return the columns that `argus prepare` writes."""
        return PREPARED_FEATURES

    def split_items(self, split: str) -> list[Path]:
        """Return the Parquet files of a split.

        Raises:
            ValueError: if `data_dir` is missing, is no prepared folder, or does not hold the subset.
        """
        if not self.data_dir:
            raise ValueError(f'{NAME} "{self.name}" needs data_dir=FOLDER, a folder made by argus prepare')
        folder = Path(self.data_dir).expanduser().resolve()
        sources = list(read_manifest(folder)["counts"])
        if self.name not in ("all", *sources):
            raise ValueError(f'{folder}: holds no subset "{self.name}"; it holds all, {", ".join(sources)}')
        members = sources if self.name == "all" else [self.name]
        return [path for source in members for path in sorted((folder / DATA / source).glob(f"{split}-*.parquet"))]

    def examples(self, item: Path, volume_folder: Path) -> Iterator[dict[str, Any]]:
        """Read one Parquet file row by row."""
        for batch in pq.ParquetFile(item).iter_batches(batch_size=1):
            yield from batch.to_pylist()

    def create_config_id(self, config_kwargs: dict, custom_features: datasets.Features | None = None) -> str:
        """Name the cache of a folder by the folder's content, so that a folder that changed is never read from it."""
        name = super().create_config_id(config_kwargs, custom_features)
        manifest = Path(self.data_dir or "").expanduser() / MANIFEST
        return f"{name}-{hash_file(manifest)[:16]}" if manifest.is_file() else name


class CT3DRRG(datasets.GeneratorBasedBuilder):
    """3D CT volumes with their radiology reports: `scan_id`, `image`, `report`, and the columns of the subset.

    `image` is a path in the Arrow table, opened as a nibabel image on access; cast it to
    `datasets.Nifti(decode=False)` for the plain path.
    """

    VERSION = _VERSION
    BUILDER_CONFIG_CLASS = CT3DRRGConfig
    BUILDER_CONFIGS = [
        PhantomConfig(name="phantom", version=_VERSION, description="Synthetic chest CTs with known findings."),
        *(
            PreparedConfig(name=name, version=_VERSION, description=f"CT-3DRRG, curated: {name}.")
            for name in ("all", *SOURCES)
        ),
    ]
    DEFAULT_CONFIG_NAME = "phantom"

    def _info(self) -> datasets.DatasetInfo:
        return datasets.DatasetInfo(description=self.config.description, features=self.config.features)

    def _split_generators(self, dl_manager: Any) -> list[datasets.SplitGenerator]:
        items = {split: self.config.split_items(split) for split in SPLITS}
        return [
            datasets.SplitGenerator(name=split, gen_kwargs={"items": part}) for split, part in items.items() if part
        ]

    def _generate_examples(self, items: list[Any]) -> Iterator[tuple[str, dict[str, Any]]]:
        # Beside the table's folder, not in it: `datasets` renames that folder when the table is complete.
        folder = Path(self._cache_dir_root).resolve() / NAME / f"volumes-{_code_hash(*_VOLUME_CODE)[:16]}"
        for item in items:
            for example in self.config.examples(item, folder):
                # Scan ids are unique within a source only.
                yield f"{example.get('source', self.config.name)}:{example['scan_id']}", example


@dataclass(frozen=True)
class Preprocessing:
    """Function that adds `pixel_values` to a batch of rows; a class, so that it can be pickled for worker processes.

    Attributes:
        image_processor: called as `image_processor(images=[...])`; its `pixel_values` are taken.
    """

    image_processor: ScanReader

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, Any]:
        """Return the batch with the column `pixel_values` added."""
        return {**batch, "pixel_values": self.image_processor(images=batch["image"])["pixel_values"]}


def with_preprocessing(dataset: Any, image_processor: ScanReader) -> Any:
    """Return a data set with an added `pixel_values` column, computed when a row is read.

    Args:
        dataset: a `Dataset`, `DatasetDict` or their streamed forms, with an `image` column.
        image_processor: called as `image_processor(images=[...])`; its `pixel_values` are taken.

    Returns:
        The same kind of data set, the other columns unchanged.
    """
    preprocess = Preprocessing(image_processor)
    if isinstance(dataset, datasets.IterableDataset | datasets.IterableDatasetDict):
        return dataset.map(preprocess, batched=True, batch_size=1)
    return dataset.with_transform(preprocess)


def _hash_of(labels: tuple[str, ...]) -> str:
    return hashlib.sha256("|".join(labels).encode()).hexdigest()[:8]


def _code_hash(*names: str) -> str:
    """Return a hash of the code that makes the data, so that a cache is not used after the code changed."""
    folder = Path(__file__).parent
    return hash_joined(folder / name for name in names)


class _ModuleFactory(datasets.load.PackagedDatasetModuleFactory):
    """Factory that finds this builder without listing the working directory, and all others as before."""

    def get_module(self) -> datasets.load.DatasetModule:
        if self.name != NAME:
            return super().get_module()
        if self.data_files is not None:
            raise ValueError(f"{NAME} takes data_dir, not data_files, got {self.data_files}")
        module_path, code_hash = _PACKAGED_DATASETS_MODULES[NAME]
        return datasets.load.DatasetModule(
            module_path, code_hash, {"data_files": DataFilesDict(), "dataset_name": NAME}
        )


def register() -> None:
    """Make `load_dataset("ct3drrg", ...)` work in this process; calling it again changes nothing.

    The stock module factory lists the working directory and fails in an empty one, hence the replacement.
    """
    _PACKAGED_DATASETS_MODULES[NAME] = (__name__, _code_hash(*_VOLUME_CODE, *_TABLE_CODE))
    datasets.load.PackagedDatasetModuleFactory = _ModuleFactory
