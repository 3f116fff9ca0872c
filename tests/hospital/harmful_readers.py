"""Stand for decoders that crash, hang or fill the memory; they run in a process of their own."""

import os
import signal
from pathlib import Path

import numpy as np

from argus_hospital.pacs import scan_apart
from argus_inference.scan_process import Answer


def end_by_fault(*_) -> Answer:
    os.kill(os.getpid(), signal.SIGSEGV)
    return Answer()


def hang(*_) -> Answer:
    while True:  # as a decoder does that never looks at a signal
        pass


def fill_memory(*_) -> Answer:
    return Answer({}, {"": np.ones(1 << 40, np.uint8).tobytes()})


def crash_on_many(most: int, folder: Path, *rest) -> Answer:
    return end_by_fault() if len(os.listdir(folder)) > most else scan_apart._examine(folder, *rest)


def stop_first(*arguments) -> Answer:
    os.kill(os.getpid(), signal.SIGTERM)
    return scan_apart._examine(*arguments)
