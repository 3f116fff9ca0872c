"""The readers' answers: an append-only file in which every click is on the disk before it is confirmed."""

import fcntl
import os
import stat
import threading
from collections import Counter
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from argus_processing.storage.json_lines import finished_bytes, json_line, read_finished_lines

ANSWERS_FILE = "answers.jsonl"
SCORES = (1, 2, 3, 4, 5)


@dataclass(frozen=True)
class Answer:
    """One click or comment: `score` (1 to 5) or `comment` is set, the other is None; the last one counts."""

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
        """What the answer is about: reader, subset, scan and system."""
        return self.reader, self.subset, self.scan_id, self.system


Key = tuple[str, str, str, str]


def read_answers(path: Path) -> list[Answer]:
    """Read all whole lines of an answers file; a last line cut off by a crash was never confirmed and is left out.

    Raises:
        ValueError: if a whole line is not an answer.
    """
    if not path.exists():
        return []
    return read_finished_lines(path, lambda line: Answer(**line), fault="is not an answer", advice="repair the file")


def last_scores(answers: list[Answer]) -> dict[Key, int]:
    """The score that counts for each reader, scan and system."""
    return {answer.key: answer.score for answer in answers if answer.score is not None}


def last_comments(answers: list[Answer]) -> dict[Key, str]:
    """The comment that counts for each reader, scan and system."""
    return {answer.key: answer.comment for answer in answers if answer.comment is not None}


class StaleAnswerError(Exception):
    """An answer to what has been answered again since its reader saw it, in another window."""


class AnswerFile:
    """The answers of a study, open for one server; several readers' requests may come at once.

    Each score and each comment has a version: how often it was given. An answer names the version it was given on, so
    that of two windows the later one cannot overwrite the other unseen.
    """

    def __init__(self, path: Path) -> None:
        """Open the file, cut a half-written last line off it, and read what is there.

        Raises:
            ValueError: if another server has it open, or it holds something else.
        """
        self._lock = threading.Lock()
        # Made for its owner alone; a pipe in its place would hold a plain open.
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, 0o600)
        self._file = open(descriptor, "ab", buffering=0)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            self._file.close()
            raise ValueError(f"{path}: is no regular file; move it away")
        os.fchmod(descriptor, 0o600)
        try:
            # The system drops the lock with the process, also when that is killed.
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
        """How often a score and a comment were given."""
        return {"score": self._versions[key, False], "comment": self._versions[key, True]}

    def add(self, answer: Answer, version: int | None = None) -> int:
        """Put an answer on the disk and give its version; when this returns, no crash takes it back.

        Args:
            answer: what is kept.
            version: of the score or comment that the reader saw; None takes whatever is there.

        Raises:
            StaleAnswerError: if another answer came meanwhile.
            OSError: if it cannot be written; nothing half-written stays.
        """
        with self._lock:
            seen = answer.key, answer.score is None
            if version is not None and version != self._versions[seen]:
                # Sent again because its confirmation was lost: it is there already.
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
        else:
            self.comments[answer.key] = answer.comment

    def close(self) -> None:
        """Close the file and let another server have it."""
        self._file.close()


def _sync_folder(folder: Path) -> None:
    """Put the file's name itself on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
