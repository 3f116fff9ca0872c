"""`argus reader-study` for people: from a runs file to a page that is served."""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from argus_processing.claimed_folders import claimed_folder

from .reader_answers import ANSWERS_FILE, AnswerFile
from .reader_study import build_study, keep_study
from .run_list import read_runs


def run(
    runs: Path,
    out: Path,
    options: dict[str, Any],
    data_dir: Path | None,
    phantom_options: dict[str, Any],
    address: tuple[str, int],
    say: Callable[[str], None],
    id_of: Callable[[str], str] = str,
) -> None:
    """Serve a reader study kept in the folder `out` until it is interrupted; a second start goes on with it.

    Args:
        options: arguments of `build_study`.
        address: host and port.
        id_of: how the evaluations named their scans, from `scan_id`.

    Raises:
        ValueError, OSError: if the study cannot be put together, is another one, or the address is taken.
    """
    if find_spec("starlette") is None or find_spec("uvicorn") is None:
        raise ValueError("the reader study needs the extra `reader`: pip install 'argus-ct[reader]'")
    from .reader_scans import ScanShelf, find_scans
    from .reader_server import serve

    study = build_study(read_runs(runs), **options)
    shelf = ScanShelf(find_scans(study.cases, study.split, data_dir, phantom_options, id_of))
    with claimed_folder(out):
        keep_study(study, out)
        answers = AnswerFile(out / ANSWERS_FILE)
        try:
            serve(study, answers, shelf, *address, say)
        finally:
            answers.close()
