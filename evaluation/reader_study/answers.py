"""Keep the readers' answers in an append-only file; every click is on the disk before it is confirmed."""

import fcntl
import os
import stat
import threading
from collections import Counter
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from argus_processing.storage.json_lines import finished_bytes, json_line, read_finished_lines
from argus_processing.storage.typed_json import from_json

ANSWERS_FILE = "answers.jsonl"
SCORES = (1, 2, 3, 4, 5)


@dataclass(frozen=True)
class Answer:
    """One score or comment: either `score` (1 to 5) or `comment` is set, the other is None; the last answer counts."""

    reader: str
    subset: str
    scan_id: str
    system: str
    score: int | None = None
    comment: str | None = None
    time: str = ""

    def __post_init__(self) -> None:
        if (self.score is None) == (self.comment is None):
            raise ValueError("an answer is either a score or a comment")
        if self.score is not None and (type(self.score) is not int or self.score not in SCORES):
            raise ValueError(f"a score is a whole number from 1 to 5, got {self.score!r}")
        if self.comment is not None and not isinstance(self.comment, str):
            raise ValueError("a comment is text")

    @property
    def key(self) -> tuple[str, str, str, str]:
        """Return the reader, subset, scan and system of the answer."""
        return self.reader, self.subset, self.scan_id, self.system


Key = tuple[str, str, str, str]


def read_answers(path: Path) -> list[Answer]:
    """Read all complete lines of an answers file; a last line cut off by a crash was never confirmed and is left out.

    Raises:
        ValueError: if a complete line is not an answer.
    """
    if not path.exists():
        return []
    return read_finished_lines(path, partial(from_json, Answer), fault="is not an answer", advice="repair the file")


def last_scores(answers: list[Answer]) -> dict[Key, int]:
    """Return the last score of each reader, scan and system, which is the one that counts."""
    return {answer.key: answer.score for answer in answers if answer.score is not None}


def last_comments(answers: list[Answer]) -> dict[Key, str]:
    """Return the last comment of each reader, scan and system, which is the one that counts."""
    return {answer.key: answer.comment for answer in answers if answer.comment is not None}


class StaleAnswerError(Exception):
    """An answer came too late: the reader has answered the same report in another window in the meantime."""


class AnswerFile:
    """The open answers file of a study, for one server; requests of several readers may come at the same time.

    Each score and each comment has a version: the number of times it was given. An answer names the version that the
    reader saw, so that a second window cannot overwrite an answer which it has not shown.
    """

    def __init__(self, path: Path) -> None:
        """Open the file, cut a half-written last line off it, and read its answers.

        Raises:
            ValueError: if another server has the file open, or it holds something else.
        """
        self._lock = threading.Lock()
        # Only the owner can read the file. O_NONBLOCK: opening a pipe in its place would otherwise wait.
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, 0o600)
        self._file = open(descriptor, "ab", buffering=0)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            self._file.close()
            raise ValueError(f"{path}: is no regular file; move it away")
        os.fchmod(descriptor, 0o600)
        try:
            # The operating system releases the lock when the process ends, also when it is killed.
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._file.close()
            raise ValueError(f"{path}: another reader study is running in this folder") from None
        answers = read_answers(path)
        self._file.truncate(finished_bytes(path))
        self.scores, self.comments = last_scores(answers), last_comments(answers)
        self._versions = Counter((answer.key, answer.score is None) for answer in answers)
        _sync_folder(path.parent)

    def versions(self, key: Key) -> dict[str, int]:
        """Return the versions of a score and a comment: the number of times each was given."""
        return {"score": self._versions[key, False], "comment": self._versions[key, True]}

    def add(self, answer: Answer, version: int | None = None) -> int:
        """Write an answer to the disk and return its version; after the return, a crash cannot lose it.

        Args:
            answer: the answer to keep.
            version: version of the score or comment that the reader saw. Default: the version is not checked.

        Raises:
            StaleAnswerError: if another answer came in the meantime.
            OSError: if it cannot be written; no half-written line stays in the file.
        """
        with self._lock:
            seen = answer.key, answer.score is None
            if version is not None and version != self._versions[seen]:
                # The same answer was sent again because its confirmation was lost: it is already kept.
                if version + 1 == self._versions[seen] and self._holds(answer):
                    return self._versions[seen]
                raise StaleAnswerError
            self._write(answer)
            self._versions[seen] += 1
            return self._versions[seen]

    def _holds(self, answer: Answer) -> bool:
        kept = self.comments if answer.score is None else self.scores
        return kept.get(answer.key) == (answer.comment if answer.score is None else answer.score)

    def _write(self, answer: Answer) -> None:
        stamped = asdict(answer) | {"time": datetime.now(UTC).isoformat(timespec="milliseconds")}
        line = json_line(stamped).encode()
        size = os.fstat(self._file.fileno()).st_size
        try:
            written = self._file.write(line)
            if written != len(line):
                raise OSError("the disk took only part of an answer")
            os.fsync(self._file.fileno())
        except OSError:
            self._file.truncate(size)
            raise
        if answer.score is not None:
            self.scores[answer.key] = answer.score
        elif answer.comment is not None:
            self.comments[answer.key] = answer.comment

    def close(self) -> None:
        """Close the file, so that another server can open it."""
        self._file.close()


def _sync_folder(folder: Path) -> None:
    """Write the folder's entries to the disk, so that a crash cannot lose the new file's name."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
