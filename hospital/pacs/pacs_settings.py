"""Load the settings of the PACS and of the watcher from YAML; secrets come from the environment or from files."""

import ipaddress
import os
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from argus_processing.storage.foreign_files import read_bounded, read_yaml_object
from argus_processing.storage.typed_json import from_json

from ..objects.structured_report import KINDS

PASSWORD_VARIABLE, TOKEN_VARIABLE = "ARGUS_PACS_PASSWORD", "ARGUS_PACS_TOKEN"
MAX_SECRET_BYTES = 1 << 16


@dataclass(frozen=True)
class PacsAddress:
    """The address of a DICOMweb server, and how to speak to it.

    Attributes:
        url: of its DICOMweb services, such as https://pacs.example/dicom-web.
        user: name for basic authentication; the password is in ARGUS_PACS_PASSWORD or in `password_file`.
        password_file, token_file: files with a secret. Without a file, ARGUS_PACS_TOKEN may hold a bearer token.
        ca_file: certificates that the server's is checked with. Default: those that requests brings along.
        client_certificate, client_key: PEM files with which this client shows who it is.
        plain_http: whether secrets may travel unencrypted to another machine.
        timeout_s: longest wait for a connection or for the next bytes of an answer.
    """

    url: str
    user: str = ""
    password_file: str = ""
    token_file: str = ""
    ca_file: str = ""
    client_certificate: str = ""
    client_key: str = ""
    plain_http: bool = False
    timeout_s: float = 60.0

    def __post_init__(self):
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("url: expected an address such as https://pacs.example/dicom-web")
        if parts.username is not None or parts.password is not None:
            raise ValueError(f"url: holds a password; give the name as user, the password in {PASSWORD_VARIABLE}")
        if not self.timeout_s > 0:
            raise ValueError(f"timeout_s: must be above 0, got {self.timeout_s:g}")
        if bool(self.client_certificate) != bool(self.client_key):
            raise ValueError("client_certificate and client_key go together; give both or none")
        if self.user and self.token_file:
            raise ValueError("user and token_file are two ways to sign in; give one")
        signs_in = self.user or self.token_file or os.environ.get(TOKEN_VARIABLE)
        if signs_in and parts.scheme == "http" and not self.plain_http and not _is_this_machine(parts.hostname):
            raise ValueError("url: secrets travel over https only; plain_http: true allows http")

    def password(self) -> str:
        """Return the password for `user`.

        Raises:
            ValueError, OSError: if there is none, or its file cannot be read.
        """
        if self.password_file:
            return read_secret(Path(self.password_file))
        if PASSWORD_VARIABLE not in os.environ:
            raise ValueError(f"no password for user {self.user}: set {PASSWORD_VARIABLE}, or name a password_file")
        return os.environ[PASSWORD_VARIABLE]

    def token(self) -> str:
        """Return the bearer token; empty if there is none. A file is read again, because tokens are renewed in it."""
        return read_secret(Path(self.token_file)) if self.token_file else os.environ.get(TOKEN_VARIABLE, "")


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def read_secret(path: Path) -> str:
    """Read the one line of a file with a secret.

    Raises:
        ValueError, OSError: if it cannot be read or is empty.
    """
    secret = read_bounded(path, MAX_SECRET_BYTES).strip()
    if not secret or "\n" in secret:
        raise ValueError(f"{path}: expected one line with the secret")
    return secret


@dataclass(frozen=True)
class WatchSettings:
    """The settings of `argus watch`.

    Attributes:
        pacs: where the studies are.
        model: folder of the model.
        state: folder of the ledger, the outbox, the audit log and scans while they are read.
        preferences: YAML for the choice of a series.
        structured: kind of the structured report: comprehensive or basic.
        evidence: whether maps of evidence are made, and sent as segmentations; the model must have a mean scan.
        fhir: folder for a FHIR DiagnosticReport of each report. Default: none is written.
        days: studies of so many days up to today are looked for. Default: those of any date.
        poll_s: time between two looks at the list of studies.
        quiet_s: a study is read when its number of images has not changed for so long.
        max_tries: after so many failures a study is left as failed; times when the PACS is down do not count.
        max_new_tokens: longest report in tokens.
        metrics: host:port on which /health and /metrics answer. Default: none.
        remember_days: a study that the PACS has not listed for so long is forgotten.
    """

    pacs: PacsAddress
    model: str
    state: str
    preferences: str = ""
    structured: str = "comprehensive"
    evidence: bool = False
    fhir: str = ""
    days: int | None = 2
    poll_s: float = 10.0
    quiet_s: float = 60.0
    max_tries: int = 8
    max_new_tokens: int = 1024
    metrics: str = ""
    remember_days: int = 30

    def __post_init__(self):
        for name in ("poll_s", "max_tries", "max_new_tokens", "remember_days"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}: must be above 0, got {getattr(self, name):g}")
        if self.quiet_s < 0 or (self.days is not None and self.days < 1):
            raise ValueError("quiet_s must be 0 or more, and days 1 or more")
        if self.structured not in KINDS:
            raise ValueError(f"structured: {' or '.join(KINDS)}, got {self.structured!r}")
        if self.metrics:
            self.metrics_address()

    def metrics_address(self) -> tuple[str, int]:
        """Return host and port of the metrics.

        Raises:
            ValueError: if they are none.
        """
        host, _, port = self.metrics.rpartition(":")
        if not host or not port.isdecimal() or int(port) > 65535:
            raise ValueError(f"metrics: expected host:port such as 127.0.0.1:9464, got {self.metrics!r}")
        return host.strip("[]"), int(port)


def load_settings(path: Path) -> WatchSettings:
    """Load the watcher's settings; paths in them count from the file's own folder.

    Raises:
        ValueError, OSError: if a setting is unknown or of another type; one line with the file.
    """
    content = read_yaml_object(path)
    try:
        settings = from_json(WatchSettings, content)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    base = Path(path).absolute().parent
    pacs = {name: _below(base, getattr(settings.pacs, name)) for name in PATHS_OF_PACS}
    own = {name: _below(base, getattr(settings, name)) for name in ("model", "state", "preferences", "fhir")}
    return replace(settings, pacs=replace(settings.pacs, **pacs), **own)


PATHS_OF_PACS = ("password_file", "token_file", "ca_file", "client_certificate", "client_key")


def _below(base: Path, path: str) -> str:
    return str(base / path) if path else ""
