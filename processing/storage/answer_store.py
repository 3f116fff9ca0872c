"""Store answers of slow models in an SQLite file, so that nothing is asked twice."""

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

AnswerFunction = Callable[[Sequence[str]], Sequence[str | None]]
ReadyFunction = Callable[[Sequence[str]], Iterable[tuple[int, str | None]]]


def answer_once(
    path: Path,
    answerer: str,
    questions: Sequence[str],
    answer: AnswerFunction,
    chunk: int = 64,
    track: Callable[[Sequence[int]], Iterable[int]] = iter,
) -> list[str | None]:
    """Return an answer for each question: the stored one, or that of `answer`, which is then stored.

    Args:
        path: SQLite file, created if it does not exist.
        answerer: name of the answerer, with model, version and settings; answers of others in the file are kept apart.
        questions: texts; one that occurs twice is asked once.
        answer: returns one answer, a text or None, for each of the questions it gets.
        chunk: questions asked at a time; the answers of each chunk are stored at once.
        track: yields the chunks it gets, one by one; for example a progress bar's `track`.

    Raises:
        ValueError: if the file cannot be opened or is not such a store, or an answer is missing.
    """

    def in_order(part: Sequence[str]) -> Iterable[tuple[int, str | None]]:
        given = list(answer(part))
        if len(given) != len(part):
            raise ValueError(f"{answerer}: {len(given)} answers to {len(part)} questions")
        return enumerate(given)

    return answer_as_ready(path, answerer, questions, in_order, chunk, track)


def answer_as_ready(
    path: Path,
    answerer: str,
    questions: Sequence[str],
    answer: ReadyFunction,
    chunk: int = 64,
    track: Callable[[Sequence[int]], Iterable[int]] = iter,
) -> list[str | None]:
    """Do as `answer_once`, with an `answer` that yields each question's index and answer in any order.

    If it fails, the answers that it gave before are stored too. A question that it leaves out has the answer None,
    which is not stored: the next call asks it again.
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
                "SELECT answer FROM kept_answers WHERE asked = ? AND question = ?", (answerer, question)
            ).fetchone()
            if row is not None:
                kept[question] = row[0]
        missing = [question for question in distinct if question not in kept]
        for start in track(range(0, len(missing), chunk)):
            part = missing[start : start + chunk]
            kept |= _store(connection, answerer, part, answer(part))
    return [kept.get(question) for question in questions]


def _store(
    connection: sqlite3.Connection, answerer: str, questions: Sequence[str], ready: Iterable[tuple[int, str | None]]
) -> dict[str, str | None]:
    """Store answers when all are there or one fails; return them by question."""
    given: dict[str, str | None] = {}
    try:
        for index, answer in ready:
            given[questions[index]] = answer
    finally:
        with connection:
            connection.executemany(
                "INSERT OR REPLACE INTO kept_answers VALUES (?, ?, ?)",
                [(answerer, question, answer) for question, answer in given.items()],
            )
    return given


def stored_answers(path: Path, answerer: str) -> dict[str, str | None]:
    """Return the stored answers by question, of the answerer whose name begins with `answerer`.

    If several do, those of the one that answered last.

    Raises:
        FileNotFoundError: if the file is not there.
        ValueError: if it is not such a store, or holds no answer of such an answerer.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: not there; name the file in which argus evaluate kept its answers")
    with _opened(path) as connection:
        last = connection.execute(
            "SELECT asked FROM kept_answers WHERE substr(asked, 1, ?) = ? ORDER BY rowid DESC LIMIT 1",
            (len(answerer), answerer),
        ).fetchone()
        if last is None:
            raise ValueError(f"{path}: holds no answer of {answerer.rstrip('|')}")
        rows = connection.execute("SELECT question, answer FROM kept_answers WHERE asked = ?", last)
        return dict(rows.fetchall())


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    """Open an SQLite file; errors of a damaged one become a ValueError."""
    try:
        with closing(sqlite3.connect(path)) as connection:
            yield connection
    except sqlite3.DatabaseError as error:
        raise ValueError(f"{path}: cannot keep answers there ({error}); move it away or name another file") from error
