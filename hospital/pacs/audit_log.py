"""Write an audit log that names studies by a keyed hash only, one JSON object per line."""

import hmac
import json
import os
from datetime import UTC, datetime
from pathlib import Path

_DIGITS = 16


class AuditLog:
    """A log of what was done with which study, without a patient's data.

    The key stays in the state folder: who has it and a study's UID can find its lines, nobody else.
    """

    def __init__(self, path: Path, key: bytes) -> None:
        self._path, self._key = path, key

    def name(self, uid: str) -> str:
        """Return the name of a study or series in logs: HMAC-SHA256 of its UID, shortened."""
        return hmac.new(self._key, uid.encode(), "sha256").hexdigest()[:_DIGITS]

    def write(self, event: str, study: str = "", **facts: str | int | float) -> None:
        """Append one line.

        Args:
            event: of a fixed list, such as "sent".
            study: UID; its name stands in the line.
            facts: further values, none of them from a header.

        Raises:
            OSError: if the disk refuses.
        """
        line = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": event}
        line |= {"study": self.name(study)} if study else {}
        content = json.dumps({**line, **facts}).encode() + b"\n"
        # Opened again for each line, so that the file may be moved away by logrotate.
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(descriptor, content)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
