"""Give the reader a folder that holds the chosen series of a study alone."""

import os
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from .series_facts import SeriesFiles
from .study_files import StudyFile


@contextmanager
def folder_of_series(chosen: SeriesFiles, study: Sequence[StudyFile]) -> Iterator[Path]:
    """Yield a folder with one series of a study: its own where no other CT lies in it, else one of links to its files.

    Files beside it that may be lost slices (damaged, or no DICOM) are linked too, so that the reader refuses them as
    it does in any folder.
    """
    folders = {file.path.parent for file in chosen.files}
    own = {file.path for file in chosen.files}
    others = [file for file in study if file.path.parent in folders and file.path not in own]
    if len(folders) == 1 and not any(file.slices for file in others):
        yield folders.pop()
        return
    doubtful = [file.path for file in others if not file.series and not file.slices]
    names = Counter(path.name for path in [*own, *doubtful])
    with tempfile.TemporaryDirectory(prefix="argus-series-") as temporary:
        for number, path in enumerate(sorted([*own, *doubtful])):
            name = path.name if names[path.name] == 1 else f"{number:05d}-{path.name}"
            os.symlink(path.absolute(), Path(temporary, name))
        yield Path(temporary)
