"""Find a reader study's scans at the start, and read them when a reader opens them."""

import asyncio
import threading
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import datasets
import numpy as np

from argus_inference.scan_process import read_apart
from argus_processing.ct_volume import CANONICAL_AXES, CTVolume
from argus_processing.read_ct import read_ct, read_ct_row

from ..benchmark.evaluated_split import load_split
from .study import Case

KEPT = 3  # volumes in memory; one of 512 x 512 x 300 is 160 MB


@dataclass(frozen=True)
class EmbeddedScan:
    """A volume that is stored inside the data set.

    Attributes:
        rows: data set with an undecoded `image` column.
        index: index of the volume's row.
    """

    rows: datasets.Dataset
    index: int


def find_scans(
    cases: Iterable[Case],
    split: str,
    data_dir: Path | None,
    options: dict[str, int],
    id_of: Callable[[str], str] = str,
) -> dict[tuple[str, str], Path | EmbeddedScan]:
    """Find the volume of every case, by subset and scan id.

    Args:
        data_dir: folder of the prepared data; the subset phantom needs none.
        options: settings of the phantoms that the evaluations ran on.
        id_of: gives the name that the evaluations used for a scan, from its `scan_id`.

    Raises:
        ValueError: if a case is not in the data.
        FileNotFoundError: if a volume is not where the data says.
    """
    wanted: dict[str, list[str]] = {}
    for case in cases:
        wanted.setdefault(case.subset, []).append(case.scan_id)
    found: dict[tuple[str, str], Path | EmbeddedScan] = {}
    for subset, scan_ids in wanted.items():
        where = {"options": options} if subset == "phantom" else {"data_dir": data_dir}
        rows = load_split(subset, split, **where).select_columns(["scan_id", "image"])
        rows = rows.cast_column("image", datasets.Nifti(decode=False))
        index_of = {id_of(scan_id): index for index, scan_id in enumerate(rows["scan_id"])}
        for scan_id in scan_ids:
            if scan_id not in index_of:
                raise ValueError(
                    f"scan {scan_id} is not in {subset} {split}; give the data that the evaluations ran on "
                    "(--data-dir, or --num-phantoms and --seed)"
                )
            image = rows[index_of[scan_id]]["image"]
            if image["bytes"] is None and not Path(image["path"]).exists():
                raise FileNotFoundError(f"{image['path']}: the volume of scan {scan_id} is not there")
            embedded = image["bytes"] is not None
            found[subset, scan_id] = EmbeddedScan(rows, index_of[scan_id]) if embedded else Path(image["path"])
    return found


class RecentVolumes:
    """A store of the volumes used last (`KEPT` of them); it reads up to two at a time, each in a separate process."""

    def __init__(self, scans: dict[tuple[str, str], Path | EmbeddedScan]) -> None:
        self._scans = scans
        self._volumes: OrderedDict[tuple[str, str], asyncio.Future[CTVolume]] = OrderedDict()
        self._readers = ThreadPoolExecutor(2, "argus-scan")
        self._closed = threading.Event()

    async def volume(self, case: Case) -> CTVolume:
        """Read a case's volume; requests for its three planes at the same time cause only one reading.

        Raises:
            ScanNotReadError: if it cannot be read.
            OSError: if nothing can be read at all, for example without room for temporary files.
        """
        key = case.subset, case.scan_id
        if key not in self._volumes:
            loop = asyncio.get_running_loop()
            self._volumes[key] = loop.run_in_executor(
                self._readers, read_apart, _reader_of(self._scans[key]), self._closed
            )
        self._volumes.move_to_end(key)
        while len(self._volumes) > KEPT:
            self._volumes.popitem(last=False)
        volume = self._volumes[key]
        try:
            return await asyncio.shield(volume)  # shielded, because other requests may wait for it too
        except Exception:  # the next request tries again
            if self._volumes.get(key) is volume:
                del self._volumes[key]
            raise

    @asynccontextmanager
    async def lifespan(self, app: Any) -> AsyncIterator[None]:
        """Run with the server; at its end, stop all reading and wait until the readers have removed their folders."""
        yield
        self._closed.set()
        await asyncio.get_running_loop().run_in_executor(None, self._readers.shutdown)


def _reader_of(scan: Path | EmbeddedScan) -> Callable[[Path], CTVolume]:
    if isinstance(scan, EmbeddedScan):
        return partial(_read_row, scan.rows[scan.index]["image"])
    return partial(_read_path, scan)


def _read_row(image: dict[str, Any], private: Path) -> CTVolume:
    return read_ct_row(image)


def _read_path(path: Path, private: Path) -> CTVolume:
    return read_ct(path)


def without_origin(volume: CTVolume) -> CTVolume:
    """Return a volume that lies straight at the origin: a scanner's own coordinates might tell where it came from."""
    depth, height, width = volume.spacing_mm
    affine = np.array([[0, 0, -width, 0], [0, -height, 0, 0], [depth, 0, 0, 0], [0, 0, 0, 1.0]])
    return CTVolume(volume.hu, affine, "".join(CANONICAL_AXES))
