"""Find the clinical metrics' weights in a user's folder or the Hub's cache; download them only on request."""

import gzip
import re
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from argus_processing.saved_models.setting_forms import printable
from argus_processing.storage.file_hash import hash_named
from argus_processing.storage.foreign_files import ForeignFileError, check_regular, read_json_object
from argus_processing.storage.part_files import private_folder

from ..metric import Metric, MetricScores

HUB_SNAPSHOT = re.compile(r"/models--[^/]+/snapshots/([^/]+)")
ANSWERS = "clinical_answers.sqlite"
UNUSED_FORMATS = ["*.h5", "*.msgpack", "*.onnx", "*.ot", "onnx/*", "openvino/*"]

# Limits of an archive's single members and of all together; RadGraph-XL's weights take half a gigabyte.
MAX_MEMBERS = 256
MAX_MEMBER_BYTES, MAX_ARCHIVE_BYTES = 2 << 30, 3 << 30
MAX_TEXT_BYTES = 8 << 20
MAX_HEADER_BYTES = 1 << 20
CONFIG = "config.json"
# Other files of an archive are not unpacked.
_NEEDED = re.compile(rf"{re.escape(CONFIG)}|weights\.th|vocabulary/[^/]+")


class MissingWeightsError(ValueError):
    """Weights are missing; the message is one line that names them and the place to put them."""


@dataclass(frozen=True)
class ClinicalOptions:
    """Options of the clinical metrics.

    Attributes:
        folder: folder with one folder per model, named as in the messages. Default: only the Hub's cache is searched.
        answers: SQLite file that keeps the models' answers.
        download: fetch missing weights from the Hub.
        batch_size: number of texts that a model reads together.
        green_compat: cut reports at 300 words, as GREEN's published code does.
        rate_backend: what computes RaTEScore: "argus", or "package" for its authors' own code.
        label_backend: what reads CT-RATE's labels: "rules", or "radbert" for CT-CLIP's classifier.
        judge: chat model that judges reports, as `http://ADDRESS/v1#MODEL`.
        radeval_python: interpreter of the environment that has RadEval.
    """

    folder: Path | None = None
    answers: Path = Path(ANSWERS)
    download: bool = False
    batch_size: int = 8
    green_compat: bool = False
    rate_backend: str = "argus"
    label_backend: str = "rules"
    judge: str | None = None
    radeval_python: Path | None = None


@dataclass(frozen=True)
class Weights:
    """Published weights: their repository on the Hub, and the folder in which they are searched.

    Attributes:
        repo_id: repository in which they are published.
        name: name of their folder inside `ClinicalOptions.folder`.
        archive: the file of the repository that holds all of them, a .tar.gz; None if the repository is the model.
        files: needed files of the repository. Default: all files except other frameworks' weights.
    """

    repo_id: str
    name: str
    archive: str | None = None
    files: tuple[str, ...] | None = None

    def find(self, options: ClinicalOptions) -> Path:
        """Return the folder (or the archive) that holds the weights; fetch them if the options ask for it.

        Raises:
            MissingWeightsError: if they are not found; the message says what to do.
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
                allow_patterns=list(self.files) if self.files else None,
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
        given = "" if options.folder else ", give it as --clinical-models FOLDER (in a recipe: clinical_models)"
        if options.download:
            return f"not fetched from the Hub ({type(error).__name__}): put {what} into {place}{given}"
        return f"no weights: put {what} into {place}{given}, or let --clinical-download fetch it from the Hub"


def identify(path: Path) -> str:
    """Return an identifier of weights: the Hub's commit if they are in its cache, else the hash of their files."""
    cached = HUB_SNAPSHOT.search(path.absolute().as_posix())
    if cached:
        return f"commit:{cached[1][:12]}"
    root, files = (path, sorted(path.rglob("*"))) if path.is_dir() else (path.parent, [path])
    kept = [file for file in files if file.is_file() and not file.name.startswith(".")]
    return f"sha256:{hash_named(root, kept)[:12]}"


@contextmanager
def unpacked(path: Path, name: str) -> Iterator[Path]:
    """Yield the folder `name` with the content of `path`, which is a folder of that name or a .tar.gz.

    An archive is unpacked into a temporary folder that is removed at the end of the block.

    Raises:
        ForeignFileError: if the archive is damaged, or holds something that no honest archive holds.
    """
    if path.is_dir() and path.name == name:
        yield path
        return
    with private_folder() as root:
        folder = root / name
        folder.mkdir()
        with _opened(path) as archive:
            for member in _members(path, archive):
                if _NEEDED.fullmatch(Path(member.name).as_posix()):
                    archive.extract(member, folder, filter="data")
        yield folder


def _members(path: Path, archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Yield the plain files of an archive; each is checked before the next is read.

    Raises:
        ForeignFileError: if there are too many, one is not a plain file, or a name occurs twice.
    """
    total, seen = 0, set()
    for count, member in enumerate(archive, start=1):
        total += _checked_size(path, member)
        if count > MAX_MEMBERS or total > MAX_ARCHIVE_BYTES:
            raise ForeignFileError(
                f"{path}: holds more than {MAX_MEMBERS} files or {MAX_ARCHIVE_BYTES >> 30} GiB; fetch it again"
            )
        name = Path(member.name).as_posix()
        if name in seen:
            raise ForeignFileError(f"{path}: {name[:80]!r} comes twice in the archive; fetch it again")
        seen.add(name)
        if member.isreg():
            yield member


def _checked_size(path: Path, member: tarfile.TarInfo) -> int:
    """Return a member's size after unpacking.

    Raises:
        ForeignFileError: if it is not a plain file, would be written outside the folder, or is larger than allowed.
    """
    place = Path(member.name)
    plain = member.isdir() or member.isreg() and not member.issparse()
    if not plain or place.is_absolute() or ".." in place.parts:
        raise ForeignFileError(f"{path}: {member.name[:80]!r} is no plain file inside the archive; fetch it again")
    most = MAX_MEMBER_BYTES if place.suffix == ".th" else MAX_TEXT_BYTES
    if not 0 <= member.size <= most:
        raise ForeignFileError(
            f"{path}: {member.name[:80]!r} has {member.size:,} bytes unpacked; at most {most:,} are read"
        )
    return member.size


class _BoundedReads:
    """A file that gives an archive's bytes only in small parts, because a member's header can claim any length."""

    def __init__(self, path: Path, file: gzip.GzipFile):
        self._path, self._file = path, file
        self.seek, self.tell, self.close = file.seek, file.tell, file.close

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= MAX_HEADER_BYTES:
            raise ForeignFileError(f"{self._path}: a header of it claims {size:,} bytes; fetch it again")
        return self._file.read(size)


@contextmanager
def _opened(path: Path) -> Iterator[tarfile.TarFile]:
    """Open a .tar.gz; errors from a damaged archive become a ValueError."""
    check_regular(path)
    try:
        with gzip.GzipFile(path) as file:
            reads: Any = _BoundedReads(path, file)  # all of a file that tarfile asks for
            with tarfile.open(fileobj=reads, mode="r:") as archive:
                yield archive
    except (tarfile.TarError, EOFError, zlib.error, UnicodeError, gzip.BadGzipFile, RecursionError) as error:
        raise ForeignFileError(f"{path}: the archive is damaged ({printable(str(error))}); fetch it again") from error


def read_config(path: Path) -> dict[str, Any]:
    """Read the config.json of a model folder, or of a model folder packed as .tar.gz.

    Raises:
        ForeignFileError: if it is missing, damaged or too large.
    """
    if path.is_dir():
        return read_json_object(path / CONFIG)
    with _opened(path) as archive, private_folder() as root:
        for member in _members(path, archive):
            if Path(member.name).as_posix() == CONFIG:
                archive.extract(member, root, filter="data")
                return read_json_object(root / CONFIG)
    raise ForeignFileError(f"{path}: has no config.json; fetch it again")


def missing_metric(signature: str, reason: str) -> Metric:
    """Make a metric that cannot be computed and gives the reason."""

    def refuse(predictions: Sequence[str], references: Sequence[str]) -> MetricScores:
        raise ValueError(reason)

    return Metric(refuse, signature, missing=lambda: reason)
