"""Ask RadEval, which needs other releases than Argus, in a second Python that has it."""

import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from argus_processing.storage.part_files import private_folder

from ..clinical.clinical_weights import ClinicalOptions

PROGRAM = Path(__file__).with_name("radeval_program.py")
OPTION = "--radeval-python PATH"
ADVICE = "make radeval-environment builds .venv/radeval/bin/python, or: pip install radeval"
SECONDS_TO_START = 600.0  # imports, and loading the weights of a metric
SECONDS_A_PAIR = 30.0  # of the slowest metric, on a CPU


class NoRadEvalError(ValueError):
    """There is no RadEval to ask; the message is one line that says what to do."""


@dataclass(frozen=True)
class RadEvalPython:
    """A Python with RadEval.

    Attributes:
        python: its interpreter.
        version, rouge_version: releases of RadEval and of rouge_score there.
        network: whether RadEval may fetch weights.
    """

    python: Path
    version: str
    rouge_version: str
    network: bool

    def ask(self, action: str, pairs: Sequence[Any] = (), **request: Any) -> Any:
        """Return the program's answer to one request about pairs (prediction, reference).

        Raises:
            ValueError: if it gives none in time, or an error.
        """
        seconds = SECONDS_TO_START + SECONDS_A_PAIR * len(pairs)
        asked = {"do": action, "network": self.network, "pairs": list(pairs), **request}
        return ask_program(self.python, asked, seconds)


def find_radeval(options: ClinicalOptions) -> RadEvalPython:
    """Return the Python that the options name, after asking it for its RadEval.

    Raises:
        NoRadEvalError: if the options name none, or it has no RadEval.
        ValueError: if it cannot be started.
    """
    python = options.radeval_python
    if python is None:
        raise NoRadEvalError(f"no Python with RadEval: give {OPTION}; {ADVICE}")
    found = ask_program(python, {"do": "versions", "network": False}, SECONDS_TO_START)
    if lacking := [name for name, release in found.items() if release is None]:
        raise NoRadEvalError(f"{python}: {' and '.join(lacking)} not installed there; {ADVICE}")
    return RadEvalPython(python, found["radeval"], found["rouge_score"], options.download)


def ask_program(python: Path, request: dict[str, Any], seconds: float) -> Any:
    """Start the program in a second Python, and return its answer to a request.

    Raises:
        ValueError: if it cannot be started, ends without an answer, takes longer than `seconds`, or gives an error.
    """
    # -I: neither the first Python's paths nor this folder are searched for modules.
    command = [os.path.abspath(python), "-I", str(PROGRAM)]
    try:
        with private_folder() as folder:  # GREEN leaves files where it runs
            sent = json.dumps(request).encode()
            done = subprocess.run(command, input=sent, capture_output=True, timeout=seconds, cwd=folder)
    except subprocess.TimeoutExpired as error:
        raise ValueError(f"{python}: RadEval gave no answer within {seconds:g} s") from error
    except OSError as error:
        raise ValueError(f"{python}: is no Python that can be started ({error.strerror})") from error
    try:
        answer = json.loads(done.stdout)
    except ValueError as error:
        said = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["no reason given"]
        told = f"{python}: RadEval's program ended without an answer (exit status {done.returncode}): {said[0][:300]}"
        raise ValueError(told) from error
    if "answer" not in answer:
        raise ValueError(f"{python}: RadEval: {answer['error']}")
    return answer["answer"]
