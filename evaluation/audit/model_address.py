"""Ask a model at an OpenAI-compatible address for reports, each scan sent along as a NIfTI file in a data: address.

`argus serve` takes such requests, and so does vLLM with a model that reads CT. The package `openai` speaks to the
address; nothing else is contacted.
"""

import base64
import gzip
import os
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import nibabel as nib
import numpy as np

from argus_processing import CTVolume
from argus_processing.instructions import INSTRUCTION

from .audited_models import MakeScan, Written
from .redrawn_scans import Spacing

KEY_VARIABLE = "OPENAI_API_KEY"
TIMEOUT_S, RETRIES = 600.0, 2
REQUESTS = 2  # under way at a time: while one report is written, the next scan is read
FIRST_FAILURES = 4  # without any report before them: the address is of no use
HOPELESS = (401, 403, 404, 405)  # answers that every further request would get too
_SCALING = slice(112, 120)  # of a NIfTI-1 header: slope and intercept


def is_address(text: str) -> bool:
    """Return whether a text is an http address, not a folder."""
    return text.lower().startswith(("http://", "https://"))


class AddressModel:
    """A model at an address.

    Args:
        address: such as http://127.0.0.1:8000/v1; `/v1` is added if there is no path.
        model: its name there. Default: the only one that the address lists.
        key_file: file that holds the key. Default: OPENAI_API_KEY of the environment; without it, none.
        requests: most requests under way at a time.
        max_new_tokens: a longer report is cut here. Default: where the server cuts it.
        timeout_s: seconds that one report may take.
        spacing_mm: see `AuditedModel`.

    Raises:
        ValueError: if the package `openai` is not installed, the address is none, or the name must be given.
        ConnectionError: if the address does not answer.
    """

    def __init__(
        self,
        address: str,
        model: str | None = None,
        *,
        key_file: Path | None = None,
        requests: int = REQUESTS,
        max_new_tokens: int | None = None,
        timeout_s: float = TIMEOUT_S,
        spacing_mm: Spacing | None = None,
    ) -> None:
        try:
            import openai
        except ImportError:
            raise ValueError("to audit an address needs the openai package: pip install '.[audit]'") from None
        self._openai, self._address = openai, complete_address(address)
        self._requests, self._timeout_s = requests, timeout_s
        # A limit that does not fit into the model's context is refused by many servers, so none is sent unasked.
        self._limits: dict[str, Any] = {} if max_new_tokens is None else {"max_tokens": max_new_tokens}
        self._client = openai.OpenAI(
            base_url=self._address, api_key=_read_key(key_file), timeout=timeout_s, max_retries=RETRIES
        )
        self._model = model or self._only_model()
        # Neither user nor password of the address is shown or stored.
        self._shown = _without_user(self._address)
        self.name = self._model
        self.identity = f"{self._shown}|{self._model}|max_new_tokens {max_new_tokens or 'of the server'}"
        self.chunk = 8 * requests
        self.spacing_mm = spacing_mm
        self._has_answered = False

    def write(self, scans: Sequence[MakeScan]) -> Iterator[tuple[int, Written]]:
        """Yield the reports as they come.

        Raises:
            ConnectionError: if the address refuses every request, or gives no report from the start.
        """
        failures = 0
        with ThreadPoolExecutor(self._requests, "argus-audit") as pool:
            asked = {pool.submit(self._ask, make): index for index, make in enumerate(scans)}
            try:
                for done in as_completed(asked):
                    written = done.result()
                    self._has_answered |= written.report is not None
                    failures += written.report is None
                    if failures >= min(FIRST_FAILURES, len(scans)) and not self._has_answered:
                        raise ConnectionError(f"{self._shown}: gave no report of {failures} scans: {written.failure}")
                    yield asked[done], written
            finally:
                pool.shutdown(cancel_futures=True)

    def _ask(self, make: MakeScan) -> Written:
        image = {"type": "image_url", "image_url": {"url": data_address(make())}}
        message: Any = {"role": "user", "content": [image, {"type": "text", "text": INSTRUCTION}]}
        try:
            answer = self._client.chat.completions.create(
                model=self._model, messages=[message], temperature=0, **self._limits
            )
            return Written(answer.choices[0].message.content or "")
        except self._openai.APIStatusError as error:
            if error.status_code in HOPELESS:
                raise ConnectionError(f"{self._shown}: {self._cause(error)}") from error
            return Written(None, self._cause(error))
        except self._openai.APIError as error:
            return Written(None, self._cause(error))
        except (AttributeError, IndexError, TypeError):
            return Written(None, "its answer is no chat completion")

    def _only_model(self) -> str:
        try:
            names = [model.id for model in self._client.models.list()]
        except self._openai.APIError as error:
            cause = self._cause(error)
            raise ConnectionError(f"{_without_user(self._address)}: {cause}; it lists no models, or is none") from error
        if len(names) != 1:
            known = ", ".join(names) or "none"
            raise ValueError(f"{_without_user(self._address)}: has these models: {known}; name one with --name")
        return names[0]

    def _cause(self, error: Any) -> str:
        """Describe a failed request without what the server said of it, but for a code such as `invalid_api_key`."""
        if isinstance(error, self._openai.APITimeoutError):
            return f"gave no answer in {self._timeout_s:.0f} s"
        if isinstance(error, self._openai.APIStatusError):
            known = {status.value: status.phrase for status in HTTPStatus}
            status = f"{error.status_code} {known.get(error.status_code, '')}".strip()
            code = f", {error.code}" if re.fullmatch("[a-z_]{1,40}", str(error.code or "")) else ""
            return f"refused a request ({status}{code})"
        return f"no connection ({type(error).__name__})"


def complete_address(address: str) -> str:
    """Return an address to which the names of requests are added; without a path it is given OpenAI's, `/v1`.

    Raises:
        ValueError: if it names no host.
    """
    parts = urlsplit(address)
    if not parts.hostname:
        raise ValueError(f"{_without_user(address)}: is no address; give one such as http://127.0.0.1:8000/v1")
    return address.rstrip("/") if parts.path.strip("/") else f"{parts.scheme}://{parts.netloc}/v1"


def data_address(volume: CTVolume) -> str:
    """Return a scan as a data: address that holds its .nii.gz; the same text for the same voxels."""
    return "data:application/gzip;base64," + base64.b64encode(nifti_bytes(volume)).decode("ascii")


def nifti_bytes(volume: CTVolume) -> bytes:
    """Return a scan as a .nii.gz file in LPS order, which holds nothing but voxels and their place."""
    affine = volume.affine[:, [2, 1, 0, 3]]
    image = nib.Nifti1Image(np.ascontiguousarray(volume.hu.transpose(2, 1, 0)), affine)
    image.header.set_xyzt_units("mm")
    image.set_qform(affine, code=1)
    image.set_sform(affine, code=1)
    content = bytearray(image.to_bytes())
    # nibabel writes not-a-number, which some readers apply.
    content[_SCALING] = np.array([1.0, 0.0], dtype="<f4").tobytes()
    return gzip.compress(bytes(content), compresslevel=1, mtime=0)


def _read_key(path: Path | None) -> str:
    """Return the key of a file or of the environment; a server that needs none takes any.

    Raises:
        ValueError: if the file holds no key of one line.
    """
    if path is None:
        return os.environ.get(KEY_VARIABLE) or "none"
    key = path.read_text(encoding="utf-8", errors="replace").strip()
    if not key or not key.isascii() or any(sign.isspace() for sign in key):
        raise ValueError(f"{path}: holds no key; it must be one line of letters and signs")
    return key


def _without_user(address: str) -> str:
    """Return an address without user and password."""
    parts = urlsplit(address)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="").geturl()
