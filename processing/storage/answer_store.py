"""Answers of slow models, kept in an SQLite file, so that nothing is asked twice."""

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

Answer = Callable[[Sequence[str]], Sequence[str | None]]


def answer_once(
    path: Path,
    asked: str,
    questions: Sequence[str],
    answer: Answer,
    chunk: int = 64,
    track: Callable[[Sequence[int]], Iterable[int]] = iter,
) -> list[str | None]:
    """Return an answer for each question: the kept one, or that of `answer`, which is then kept.

    Args:
        path: SQLite file, made if it is not there.
        asked: who answers, down to model, version and settings; answers of others in the file are not mixed up with it.
        questions: texts; one that comes twice is asked once.
        answer: gives one answer, a text or None, for each of the questions it is handed.
        chunk: questions asked at a time; what is answered is kept, whatever happens next.
        track: passes on what it is handed, one a chunk; a progress bar's `track` for instance.

    Raises:
        ValueError: if the file cannot be opened or is not such a file.
    """
    distinct = list(dict.fromkeys(questions))
    with _opened(path) as connection:
        with connection:
            connection.execute(
                "CREATE TABLE IF NOT EXISTS kept_answers (asked TEXT, question TEXT, answer TEXT, "
                "PRIMARY KEY (asked, question))"
            )
        kept = {}
        for question in distinct:
            row = connection.execute(
                "SELECT answer FROM kept_answers WHERE asked = ? AND question = ?", (asked, question)
            ).fetchone()
            if row is not None:
                kept[question] = row[0]
        missing = [question for question in distinct if question not in kept]
        for start in track(range(0, len(missing), chunk)):
            part = missing[start : start + chunk]
            pairs = list(zip(part, answer(part), strict=True))
            with connection:
                connection.executemany(
                    "INSERT OR REPLACE INTO kept_answers VALUES (?, ?, ?)",
                    [(asked, question, given) for question, given in pairs],
                )
            kept.update(pairs)
    return [kept[question] for question in questions]


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    """Open an SQLite file; what a damaged one raises becomes a ValueError."""
    try:
        with closing(sqlite3.connect(path)) as connection:
            yield connection
    except sqlite3.DatabaseError as error:
        raise ValueError(f"{path}: cannot keep answers there ({error}); move it away or name another file") from error
