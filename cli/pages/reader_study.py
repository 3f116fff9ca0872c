"""Run `argus reader-study`: build a study from a runs file and serve its page."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

from argus_evaluation.benchmark.run_list import read_runs
from argus_evaluation.reader_study.answers import ANSWERS_FILE, AnswerFile
from argus_evaluation.reader_study.links import READERS_FILE, ReaderLinks, clean_reader
from argus_evaluation.reader_study.study import Study, StudyOptions, build_study, keep_study
from argus_processing.storage.claimed_folders import claimed_folder


def run(
    runs: Path,
    out: Path,
    options: StudyOptions,
    data_dir: Path | None,
    phantom_options: dict[str, int],
    address: tuple[str, int],
    say: Callable[[str], None],
    id_of: Callable[[str], str] = str,
    readers: Sequence[str] = (),
    other_hosts: Sequence[str] = (),
    systems: Sequence[str] = (),
) -> None:
    """Serve a reader study kept in the folder `out` until interrupted; a second start goes on with it.

    Args:
        options: see `build_study`.
        address: host and port.
        id_of: gives the name that the evaluations used for a scan, from its `scan_id`.
        readers: names of new readers; readers already in the study stay.
        other_hosts: names that the server answers to besides its own.
        systems: names of the systems whose reports are read. Default: all of the runs file.

    Raises:
        ValueError, OSError: if the study cannot be built, if `out` holds another study, if the address is in use, or
            if niivue is not built into this installation.
    """
    if any(find_spec(name) is None for name in ("starlette", "uvicorn", "pydantic")):
        raise ValueError("the reader study needs the extra `reader`: pip install '.[reader]'")
    from argus_evaluation.reader_study.server import serve
    from argus_evaluation.reader_study.study_scans import RecentVolumes, find_scans
    from argus_inference.scan_process import prepare_readers
    from argus_inference.viewer.niivue_file import niivue_script

    niivue_script()
    for name in readers:
        clean_reader(name)
    prepare_readers()
    study = _study(runs, options, say, systems)
    volumes = RecentVolumes(find_scans(study.cases, study.split, data_dir, phantom_options, id_of))
    with claimed_folder(out):
        keep_study(study, out)
        answers = AnswerFile(out / ANSWERS_FILE)
        try:
            links = ReaderLinks(out / READERS_FILE, readers)
            serve(study, answers, volumes, links, *address, say, other_hosts)
        finally:
            answers.close()


def draw(runs: Path, out: Path, options: StudyOptions, say: Callable[[str], None], systems: Sequence[str] = ()) -> None:
    """Draw the cases of a study into the folder `out`; `run` goes on with it.

    Raises:
        ValueError, OSError: as `run`.
    """
    study = _study(runs, options, say, systems)
    with claimed_folder(out):
        keep_study(study, out)


def _study(runs: Path, options: StudyOptions, say: Callable[[str], None], systems: Sequence[str]) -> Study:
    """Build a study, and say which subset has too few cases."""
    study = build_study(read_runs(runs, systems), **vars(options))
    for line in too_few_cases(study, options.cases_per_subset):
        say(line)
    return study


def too_few_cases(study: Study, wanted: int) -> Iterator[str]:
    """Yield a line for every subset that has fewer cases than were asked for."""
    for subset, number in Counter(case.subset for case in study.cases).items():
        if number < wanted:
            yield f"{subset}: {number} cases, all that the runs hold; {wanted} were asked for"
