"""Write the parts of a multipart answer to files as they come, so that none is held in memory."""

from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO

from .pacs_errors import PacsError

MAX_HEADERS_BYTES = 1 << 16


class _Source:
    """Bytes that come in pieces."""

    def __init__(self, chunks: Iterable[bytes], before: bytes) -> None:
        self._chunks, self._held = iter(chunks), before

    def until(self, mark: bytes) -> Iterator[bytes]:
        """Yield what comes before a mark, and step over the mark."""
        while (place := self._held.find(mark)) < 0:
            free = max(0, len(self._held) - len(mark) + 1)
            yield self._held[:free]
            self._held = self._held[free:] + self._next()
        yield self._held[:place]
        self._held = self._held[place + len(mark) :]

    def starts_with(self, mark: bytes) -> bool:
        """Return whether a mark comes next."""
        while len(self._held) < len(mark):
            self._held += self._next()
        return self._held.startswith(mark)

    def _next(self) -> bytes:
        for chunk in self._chunks:
            if chunk:
                return chunk
        raise PacsError("the PACS did not send the end of an answer")


def write_parts(chunks: Iterable[bytes], boundary: bytes, open_part: Callable[[int], BinaryIO]) -> int:
    """Write the content of each part into a file of its own; return their number.

    Args:
        chunks: the answer's content.
        boundary: that the answer's content type tells.
        open_part: opens the file of a part, by its number from 0, or raises if there may be no more.

    Raises:
        PacsError: if the answer ends before its last boundary, or a part has no end of its headers.
        OSError: if a file cannot be written.
    """
    source = _Source(chunks, b"\r\n")  # a first boundary need not follow a line
    for _ in source.until(b"\r\n--" + boundary):
        pass
    number = 0
    while not source.starts_with(b"--"):
        size = 0
        for skipped in source.until(b"\r\n\r\n"):
            size += len(skipped)
            if size > MAX_HEADERS_BYTES:
                raise PacsError("the PACS sends a part of an answer without a content")
        with open_part(number) as file:
            for piece in source.until(b"\r\n--" + boundary):
                file.write(piece)
        number += 1
    return number
