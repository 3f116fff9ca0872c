"""Describe errors in one line that quotes nothing of a patient, and recognise errors that are not a scan's fault."""

import errno
from pickle import UnpicklingError

from safetensors import SafetensorError

from .ct_checks import CTReadError

_MOST_LETTERS = 1000  # some libraries raise messages of several pages
_DISK: dict[int | None, str] = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the quota is used up",
    errno.EROFS: "the disk is read-only",
}


def is_stop(error: BaseException) -> bool:
    """Return whether an error asks the program to end; Rust's panics, which a damaged file may cause, do not."""
    return not isinstance(error, Exception) and type(error).__name__ != "PanicException"


def is_memory(error: BaseException) -> bool:
    """Return whether an error means that memory ran out: Python's, or torch's `RuntimeError` on a CPU or GPU."""
    text = str(error) if isinstance(error, RuntimeError) else ""
    return isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError" or "can't allocate" in text


def one_line(error: BaseException) -> str:
    """Describe an error in one line: an operating-system error as `path: cause`, others in their own words."""
    if isinstance(error, OSError) and error.strerror and error.filename:
        # The error of a copy names source and target: a full disk is the target's.
        path = (error.errno in _DISK and error.filename2) or error.filename
        return f"{path}: {_DISK.get(error.errno, error.strerror)}"
    told = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    text = " ".join(told.split()) or type(error).__name__
    return text if len(text) <= _MOST_LETTERS else f"{text[:_MOST_LETTERS]} [...]"


def reason_of(error: BaseException, verb: str = "be read") -> str:
    """Describe in one line why a scan could not `verb`, so that the program can continue with the next one.

    Of an error that was not written for users only the type is named: its text may quote content of the file.

    Raises:
        BaseException: `error` itself, if it asks the program to end.
    """
    if is_stop(error):
        raise error
    if isinstance(error, CTReadError | OSError):
        return one_line(error)
    if is_memory(error):
        return f"could not {verb}: it needs more memory than there is"
    return f"could not {verb} ({type(error).__name__})"


def explain(error: BaseException) -> str | None:
    """Describe in one line an error that the user can fix; return None for an unexpected one.

    Libraries wrap errors: the chain of causes is searched for an operating-system error or an error of a scan.
    """
    seen: list[BaseException] = []
    behind: BaseException | None = error
    while behind is not None and behind not in seen:
        seen.append(behind)
        behind = behind.__cause__ or behind.__context__
    if not isinstance(error, ValueError | OSError):
        told: BaseException | None = next((each for each in seen if isinstance(each, CTReadError | OSError)), None)
        if told is None and type(error).__module__.startswith("datasets."):
            told = next((each for each in seen if isinstance(each, ValueError)), None)
        error = told or error
    if isinstance(error, ValueError | OSError):
        return one_line(error)
    if is_memory(error):
        return "there is not enough memory for this; take smaller batches or a machine with more"
    if isinstance(error, UnpicklingError):
        return "a pickled file of a run holds more than tensors; it is not read"
    if isinstance(error, RecursionError):
        return "a file is nested too deeply to be read"
    return one_line(error) if isinstance(error, ImportError | SafetensorError) else None
