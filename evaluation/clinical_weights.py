"""Where the weights of the clinical metrics lie: a folder of the user's, or the Hub's cache; no network unasked."""

import hashlib
import json
import re
import tarfile
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .metric import Metric, MetricScores
from .model_folder import BLOCK_BYTES

HUB_SNAPSHOT = re.compile(r"/models--[^/]+/snapshots/([^/]+)")
ANSWERS = "clinical_answers.sqlite"
UNUSED_FORMATS = ["*.h5", "*.msgpack", "*.onnx", "*.ot", "onnx/*", "openvino/*"]


class MissingWeightsError(ValueError):
    """Says in one line which weights are not there and where to put them."""


@dataclass(frozen=True)
class ClinicalOptions:
    """What the clinical metrics run with.

    Attributes:
        folder: holds one folder per model, named as in the messages; None looks into the Hub's cache only.
        answers: SQLite file that keeps the models' answers.
        download: fetch from the Hub what is not there.
        batch_size: texts a model reads at a time.
        green_compat: cut reports at 300 words, as GREEN's published code does.
    """

    folder: Path | None = None
    answers: Path = Path(ANSWERS)
    download: bool = False
    batch_size: int = 8
    green_compat: bool = False


@dataclass(frozen=True)
class Weights:
    """Published weights: their repository on the Hub, and the folder they are looked for in.

    Attributes:
        repo_id: where they are published.
        name: of their folder inside `ClinicalOptions.folder`.
        archive: the file of the repository that holds them all, a .tar.gz; None if the repository is the model.
        files: what is needed of the repository; all but other frameworks' weights if None.
    """

    repo_id: str
    name: str
    archive: str | None = None
    files: tuple[str, ...] | None = None

    def find(self, options: ClinicalOptions) -> Path:
        """Return the folder (or the archive) that holds the weights, fetched if that was asked for.

        Raises:
            MissingWeightsError: if they are nowhere, with what to do.
        """
        if options.folder is not None and (options.folder / self.name / "config.json").is_file():
            return options.folder / self.name
        if options.folder is not None and self.archive and (options.folder / self.archive).is_file():
            return options.folder / self.archive
        return self._from_hub(options)

    def _from_hub(self, options: ClinicalOptions) -> Path:
        from huggingface_hub import hf_hub_download, snapshot_download
        from huggingface_hub.errors import HfHubHTTPError

        local_only = not options.download
        try:
            if self.archive:
                return Path(hf_hub_download(self.repo_id, self.archive, local_files_only=local_only))
            path = snapshot_download(
                self.repo_id,
                local_files_only=local_only,
                allow_patterns=self.files and list(self.files),
                ignore_patterns=UNUSED_FORMATS,
            )
        except (OSError, ValueError, HfHubHTTPError) as error:
            raise MissingWeightsError(self._advice(options, error)) from error
        if not (Path(path) / "config.json").is_file():
            raise MissingWeightsError(self._advice(options, None))
        return Path(path)

    def _advice(self, options: ClinicalOptions, error: Exception | None) -> str:
        place = (options.folder or Path("FOLDER")) / self.name
        what = f"{self.archive} of {self.repo_id}, unpacked," if self.archive else f"the model {self.repo_id}"
        given = "" if options.folder else ", give it as --clinical-models FOLDER"
        if options.download:
            return f"not fetched from the Hub ({type(error).__name__}): put {what} into {place}{given}"
        return f"no weights: put {what} into {place}{given}, or let --clinical-download fetch it from the Hub"


def identify(path: Path) -> str:
    """Name weights by the commit they came from the Hub with, otherwise by the hash of their files."""
    cached = HUB_SNAPSHOT.search(path.absolute().as_posix())
    if cached:
        return f"commit:{cached[1][:12]}"
    digest = hashlib.sha256()
    root = path if path.is_dir() else path.parent
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if file.is_file() and not file.name.startswith("."):
            digest.update(f"{file.relative_to(root)}\0{file.stat().st_size}\0".encode())
            with file.open("rb") as opened:
                while block := opened.read(BLOCK_BYTES):
                    digest.update(block)
    return f"sha256:{digest.hexdigest()[:12]}"


@contextmanager
def unpacked(path: Path, name: str) -> Iterator[Path]:
    """Give the folder `name` with the content of `path`, itself a folder of that name or a .tar.gz.

    An archive is unpacked into a temporary folder that goes away with the block.

    Raises:
        ValueError: if the archive is damaged.
    """
    if path.is_dir() and path.name == name:
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="argus-") as root:
        with _opened(path) as archive:
            archive.extractall(Path(root) / name, filter="data")
        yield Path(root) / name


@contextmanager
def _opened(path: Path) -> Iterator[tarfile.TarFile]:
    """Open a .tar.gz; what a damaged one raises becomes a ValueError."""
    try:
        with tarfile.open(path, "r:gz") as archive:
            yield archive
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise ValueError(f"{path}: the archive is damaged ({error}); fetch it again") from error


def read_config(path: Path) -> dict[str, Any]:
    """Read the config.json of a model folder, or of a .tar.gz of one."""
    if path.is_dir():
        return json.loads((path / "config.json").read_text(encoding="utf-8"))
    with _opened(path) as archive:
        for member in archive:
            if Path(member.name).as_posix() == "config.json":
                return json.load(archive.extractfile(member))
    raise ValueError(f"{path}: has no config.json; fetch it again")


def missing_metric(signature: str, reason: str) -> Metric:
    """Make a metric that cannot be computed, and says why."""

    def refuse(predictions: Sequence[str], references: Sequence[str]) -> MetricScores:
        raise ValueError(reason)

    return Metric(refuse, signature, missing=lambda: reason)
