"""Decode compressed pictures in a separate process that may die: run as a program by its path.

A request on standard input is a line of JSON, `{"syntax", "rows", "columns", "precision", "signed", "size"}`, and
`size` bytes. The answer is one byte, b"+" with rows x columns little-endian uint16 numbers after it, or b"-".
"""

import json
import logging
import os
import signal
import sys
import tempfile
from importlib import import_module
from typing import Any, BinaryIO

import numpy as np

WORKER_FILE = __file__
MAX_SECONDS = 8  # a picture; real ones take under one
MAX_BYTES = 3 * 2**30  # of address space
RLE, JPEG = "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4."
# Decoders that raise errors come before those that may end the process: name in pydicom, and the module it needs.
DECODERS = {RLE: ("pylibjpeg", "rle")} | {JPEG + end: ("pyjpegls", "jpeg_ls") for end in ("80", "81")}
DECODERS |= {JPEG + end: ("pylibjpeg", "openjpeg") for end in ("90", "91", "201", "202", "203")}
DECODERS |= {JPEG + end: ("gdcm", "gdcm") for end in ("57", "70")}
DECODERS |= {JPEG + end: ("", "simplejpeg") for end in ("50", "51")}  # unlike pydicom's decoder, it reports damage


class Complaints(logging.Handler):
    """Counter of messages of decoders, in the log and on standard error: a picture with a message is refused."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.count = 0
        self.file = tempfile.TemporaryFile()  # closed at the end of the process
        os.dup2(self.file.fileno(), 2)

    def emit(self, record: logging.LogRecord) -> None:
        """Count one message."""
        self.count += 1

    def total(self) -> int:
        """Return a number that grows with every message."""
        return self.count + os.lseek(2, 0, os.SEEK_END)


def decode(request: dict[str, Any], code: bytes) -> bytes:
    """Decode one picture with one grey channel to little-endian uint16 numbers, the bits as they are stored."""
    rows, columns, precision = request["rows"], request["columns"], request["precision"]
    plugin, module = DECODERS[request["syntax"]]
    if not plugin:
        pixels = import_module(module).decode_jpeg(code, colorspace="GRAY", strict=True)[..., 0]
    else:
        # Not by `import`: transformers would look for pydicom before it takes this file from the Hub.
        encapsulate = import_module("pydicom.encaps").encapsulate
        facts = {"rows": rows, "columns": columns, "bits_allocated": 8 if precision <= 8 else 16}
        facts |= {"bits_stored": precision, "pixel_representation": int(request["signed"]), "number_of_frames": 1}
        facts |= {"samples_per_pixel": 1, "photometric_interpretation": "MONOCHROME2", "pixel_keyword": "PixelData"}
        decoder = import_module("pydicom.pixels").get_decoder(request["syntax"])
        pixels, _ = decoder.as_array(encapsulate([code]), index=0, raw=True, decoding_plugin=plugin, **facts)
    if pixels.shape != (rows, columns):
        raise ValueError("another size than was asked for")
    return pixels.astype(np.int32).astype("<u2").tobytes()


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer requests until there are no more; a picture that takes too long ends the process."""
    complaints = Complaints()
    logging.getLogger().addHandler(complaints)
    alarm = getattr(signal, "alarm", lambda seconds: None)
    while line := requests.readline():
        request = json.loads(line)
        code = requests.read(request["size"])
        before = complaints.total()
        alarm(MAX_SECONDS)
        try:
            pixels = decode(request, code)
        except BaseException:  # a panic in Rust is not an Exception
            pixels = b""
        alarm(0)
        taken = pixels and complaints.total() == before
        answers.write(b"+" + pixels if taken else b"-")
        answers.flush()


def main() -> None:
    """Reserve standard output for answers, limit the memory, and serve."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # output of decoders must not mix with the answers
    try:
        import resource

        limit = min(end for end in (MAX_BYTES, *resource.getrlimit(resource.RLIMIT_AS)) if end > 0)
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    except (ImportError, OSError, ValueError):  # not on every system
        pass
    serve(sys.stdin.buffer, answers)


if __name__ == "__main__":
    main()
