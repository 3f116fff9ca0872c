"""Start a private Orthanc on loopback, with its own storage, and stop, kill and ask it."""

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
TOOLS = ("Orthanc", "storescu")
INSTALL = "apt-get install orthanc orthanc-dicomweb orthanc-gdcm dcmtk dicom3tools"
USER, PASSWORD = "argus", "s3cret"
UP_SECONDS = 60.0


def missing_programs() -> str:
    """Return which of the programs are not installed, with the Debian packages; empty if all are there."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None] + ([] if PLUGIN.exists() else [PLUGIN.name])
    return f"not installed: {', '.join(missing)} (Debian: {INSTALL})" if missing else ""


def free_port() -> int:
    """Return a port of this machine that is free now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@dataclass
class OrthancServer:
    """An Orthanc with a folder for its objects; it keeps its ports and objects over a restart."""

    root: Path
    http: int = field(default_factory=free_port)
    dicom: int = field(default_factory=free_port)
    more: dict[str, Any] = field(default_factory=dict)
    process: subprocess.Popen | None = None

    @property
    def address(self) -> str:
        """Return the address of its own interface."""
        return f"http://127.0.0.1:{self.http}"

    @property
    def web(self) -> str:
        """Return the address of its DICOMweb services."""
        return f"{self.address}/dicom-web"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self.root.mkdir(parents=True, exist_ok=True)
        path = self.root / "orthanc.json"
        path.write_text(json.dumps(self._settings()))
        with (self.root / "orthanc.log").open("ab") as log:
            self.process = subprocess.Popen(["Orthanc", str(path)], stdout=log, stderr=log)
        until = time.monotonic() + UP_SECONDS
        while True:
            try:
                if self.ask("system"):
                    return
            except requests.ConnectionError:
                pass
            if self.process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"Orthanc did not start: {(self.root / 'orthanc.log').read_text()[-2000:]}")
            time.sleep(0.1)

    def stop(self) -> None:
        """End it as a system does."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(30)

    def kill(self) -> None:
        """End it as a power cut does."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(30)

    def ask(self, path: str, question: dict[str, Any] | None = None) -> Any:
        """Return what its own interface answers."""
        options: dict[str, Any] = {"auth": (USER, PASSWORD), "timeout": 30}
        url = f"{self.address}/{path}"
        answer = requests.get(url, **options) if question is None else requests.post(url, json=question, **options)
        answer.raise_for_status()
        return answer.json()

    def content(self, path: str) -> bytes:
        """Return a file that its own interface gives."""
        return requests.get(f"{self.address}/{path}", auth=(USER, PASSWORD), timeout=30).content

    def objects(self, study: str, modality: str) -> list[str]:
        """Return its own names of a study's objects of a modality."""
        wanted = {"StudyInstanceUID": study, "Modality": modality}
        return self.ask("tools/find", {"Level": "Instance", "Query": wanted})

    def send(self, paths: Sequence[Path]) -> None:
        """Send files by C-STORE."""
        command = ["storescu", "-aec", "ORTHANC", "127.0.0.1", str(self.dicom), *map(str, paths)]
        subprocess.run(command, check=True, capture_output=True)

    def _settings(self) -> dict[str, Any]:
        return {
            "Name": "ArgusTest",
            "StorageDirectory": str(self.root / "objects"),
            "IndexDirectory": str(self.root / "objects"),
            "TemporaryDirectory": str(self.root),
            "HttpPort": self.http,
            "DicomPort": self.dicom,
            "DicomAet": "ORTHANC",
            "DicomAlwaysAllowStore": True,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": True,
            "RegisteredUsers": {USER: PASSWORD},
            "StableAge": 1,
            "OverwriteInstances": False,
            "OrthancExplorerEnabled": False,
            "Plugins": [str(PLUGIN)],
            "DicomWeb": {"Enable": True, "Root": "/dicom-web/", "EnableWado": False},
            **self.more,
        }
