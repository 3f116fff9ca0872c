"""Keep in SQLite which studies were seen, read and failed, and the objects that wait to be sent.

Each change is on the disk before the next step begins, so that a watcher that is killed goes on where it was. The file
holds UIDs, and while objects wait, the objects: only its owner can read it. `cause` is made for logs and holds neither.
"""

import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .pacs_client import StudyListed
from .study_reading import MadeObject

WAITING, DONE, REFUSED, FAILED = "waiting", "done", "refused", "failed"
STATES = (WAITING, DONE, REFUSED, FAILED)
LONGEST_WAIT_S = 600.0  # between tries of one study
_FORM = 1
_TABLES = """
CREATE TABLE IF NOT EXISTS study(
    uid TEXT PRIMARY KEY,
    instances INTEGER NOT NULL,     -- as the PACS told last
    changed REAL NOT NULL,          -- when that number last changed
    seen REAL NOT NULL,             -- when the PACS listed the study last
    state TEXT NOT NULL,
    settled TEXT NOT NULL DEFAULT '', -- the last state that was not waiting
    model TEXT NOT NULL DEFAULT '', -- hash of the one that handled it last
    content TEXT NOT NULL DEFAULT '', -- hash of the series that it handled
    tries INTEGER NOT NULL DEFAULT 0,
    due REAL NOT NULL DEFAULT 0,
    cause TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE TABLE IF NOT EXISTS report(
    key TEXT PRIMARY KEY, study TEXT NOT NULL, sop TEXT NOT NULL, sent REAL NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS outbox(
    sop TEXT PRIMARY KEY,           -- or the name of a FHIR document
    study TEXT NOT NULL, key TEXT NOT NULL, place INTEGER NOT NULL, content BLOB NOT NULL
) STRICT;
"""


@dataclass(frozen=True)
class Job:
    """A study that is to be handled; `settled`, `model` and `content` tell how it was handled last, and what it was."""

    study: str
    changed: float
    settled: str
    model: str
    content: str
    tries: int


@dataclass(frozen=True)
class Waiting:
    """The objects of one report that wait to be sent, in order."""

    key: str
    objects: tuple[MadeObject, ...]

    @property
    def structured(self) -> str:
        """Return the UID of the structured report, the last object that the PACS gets."""
        return [each.name for each in self.objects if each.is_dicom][-1]


class Ledger:
    """The watcher's memory; its methods raise `sqlite3.Error` where the disk refuses."""

    def __init__(self, path: Path) -> None:
        """Open or create a ledger.

        Raises:
            ValueError: if the file is no ledger of this version.
            OSError: if it cannot be made.
        """
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        os.chmod(path, 0o600)
        self._db = sqlite3.connect(path, isolation_level=None, timeout=10)
        try:
            for setting in ("journal_mode=WAL", "synchronous=FULL", "secure_delete=ON", "wal_autocheckpoint=64"):
                self._db.execute(f"PRAGMA {setting}")
            (form,) = self._db.execute("PRAGMA user_version").fetchone()
            if form not in (0, _FORM):
                raise ValueError(f"{path}: is the ledger of another version of Argus; give another state folder")
            self._db.executescript(_TABLES)
            self._db.execute(f"PRAGMA user_version={_FORM}")
        except sqlite3.DatabaseError as error:
            self._db.close()
            if isinstance(error, sqlite3.OperationalError):  # a full or read-only disk, or another program's lock
                raise ValueError(f"{path}: cannot be used now ({error})") from None
            raise ValueError(f"{path}: is no ledger of Argus, or damaged; move it away, the PACS is asked") from None

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def list_studies(self, studies: Iterable[StudyListed], model: str, now: float) -> None:
        """Note the studies that the PACS lists; new ones, and those with other images or another model, wait.

        Times that lie ahead, because the clock was set back, are taken for now.
        """
        rows = [(each.uid, each.num_instances, model, now) for each in studies]
        with self._transaction():
            self._db.execute(
                "UPDATE study SET changed = min(changed, ?1), due = min(due, ?2)", (now, now + LONGEST_WAIT_S)
            )
            self._db.executemany(
                """INSERT INTO study(uid, instances, changed, seen, state) VALUES(?1, ?2, ?4, ?4, 'waiting')
                ON CONFLICT(uid) DO UPDATE SET
                    seen = ?4,
                    changed = iif(instances = ?2, changed, ?4),
                    tries = iif(instances = ?2 AND (state = 'waiting' OR model = ?3), tries, 0),
                    due = iif(instances = ?2, due, 0),
                    state = iif(instances = ?2 AND (state = 'waiting' OR model = ?3), state, 'waiting'),
                    instances = ?2""",
                rows,
            )

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            self._db.rollback()
            raise

    def next_job(self, quiet_s: float, now: float) -> Job | None:
        """Return the study that has waited longest of those that are quiet and due."""
        row = self._db.execute(
            """SELECT uid, changed, settled, model, content, tries FROM study
            WHERE state = 'waiting' AND due <= ?1 AND changed + ?2 <= ?1 ORDER BY max(due, changed) LIMIT 1""",
            (now, quiet_s),
        ).fetchone()
        return None if row is None else Job(*row)

    def begin(self, job: Job) -> None:
        """Count a try before it begins, so that a study that ends the program is counted too."""
        self._db.execute("UPDATE study SET tries = ? WHERE uid = ?", (job.tries + 1, job.study))

    def put_off(self, job: Job, due: float, tries: int, cause: str) -> None:
        """Let a study wait until it is due."""
        self._db.execute("UPDATE study SET tries = ?, due = ?, cause = ? WHERE uid = ?", (tries, due, cause, job.study))

    def finish(self, job: Job, state: str, model: str, content: str, cause: str) -> None:
        """Note that a study is handled."""
        self._db.execute(
            "UPDATE study SET state = ?1, settled = ?1, model = ?2, content = ?3, cause = ?4, tries = 0, due = 0"
            " WHERE uid = ?5",
            (state, model, content, cause, job.study),
        )

    def settle(self, job: Job) -> None:
        """Note that a study has nothing new: it is as it was before, with the same cause."""
        self._db.execute("UPDATE study SET state = settled, tries = 0, due = 0 WHERE uid = ?", (job.study,))

    def forget_study(self, study: str) -> None:
        """Forget a study that the PACS no longer has, and what waits to be sent for it; it may come again."""
        with self._transaction():
            self._db.execute("DELETE FROM outbox WHERE study = ?", (study,))
            self._db.execute("DELETE FROM study WHERE uid = ?", (study,))
        self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def put_out(self, study: str, key: str, objects: Sequence[MadeObject]) -> None:
        """Keep the objects of a report until they are sent, all or none."""
        rows = [(each.name, study, key, place, each.content) for place, each in enumerate(objects)]
        with self._transaction():
            self._db.executemany("INSERT OR REPLACE INTO outbox VALUES(?, ?, ?, ?, ?)", rows)

    def waiting(self, study: str) -> Waiting | None:
        """Return the report of a study that waits to be sent."""
        rows = self._db.execute(
            "SELECT key, sop, content FROM outbox WHERE study = ? ORDER BY key, place", (study,)
        ).fetchall()
        own = tuple(MadeObject(name, content) for key, name, content in rows if key == rows[0][0])
        return Waiting(rows[0][0], own) if rows else None

    def sent(self, study: str, key: str, sop: str, now: float) -> None:
        """Note that a report is in the PACS, and forget its objects, also in the file's free pages."""
        with self._transaction():
            self._db.execute("INSERT OR IGNORE INTO report VALUES(?, ?, ?, ?)", (key, study, sop, now))
            self._db.execute("DELETE FROM outbox WHERE key = ?", (key,))
        self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def is_reported(self, key: str) -> bool:
        """Return whether a report was sent once, whether or not the PACS still has it."""
        return self._db.execute("SELECT 1 FROM report WHERE key = ?", (key,)).fetchone() is not None

    def counts(self) -> dict[str, int]:
        """Return the number of studies in each state."""
        found = dict(self._db.execute("SELECT state, count(*) FROM study GROUP BY state").fetchall())
        return {state: found.get(state, 0) for state in STATES}

    def num_outbox(self) -> int:
        """Return the number of objects that wait to be sent."""
        return int(self._db.execute("SELECT count(*) FROM outbox").fetchone()[0])

    def failures(self) -> list[tuple[str, str]]:
        """Return the studies that failed, with the cause."""
        return self._db.execute("SELECT uid, cause FROM study WHERE state = 'failed' ORDER BY changed").fetchall()

    def retry_failures(self) -> int:
        """Let all studies that failed wait again; return their number."""
        return self._db.execute(
            "UPDATE study SET state = 'waiting', tries = 0, due = 0 WHERE state = 'failed'"
        ).rowcount

    def forget(self, before: float) -> None:
        """Forget studies that the PACS has not listed since a time, unless a report of them waits to be sent."""
        where = "seen < ? AND uid NOT IN (SELECT study FROM outbox)"
        with self._transaction():
            self._db.execute(f"DELETE FROM report WHERE study IN (SELECT uid FROM study WHERE {where})", (before,))
            self._db.execute(f"DELETE FROM study WHERE {where}", (before,))
