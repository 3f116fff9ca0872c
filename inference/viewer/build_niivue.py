"""Build niivue into the package: fetch the release of the lock file from an npm registry, and check its hash.

    python -m argus_inference.viewer.build_niivue [--registry URL] [--archive FILE]

Neither node nor another library is needed. The registry is `--registry`, else the one that npm is set to
(npm_config_registry, or npm's own settings where npm is installed), else the public one. A machine without a network
takes an archive that was copied there; only the one of the lock file is accepted.
"""

import argparse
import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import urllib.error
import urllib.request
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from .niivue_file import FOLDER, SCRIPT

LOCK = FOLDER / "lock.json"
PUBLIC_REGISTRY = "https://registry.npmjs.org"
MAX_BYTES = 64 << 20
SECONDS = 120.0


@dataclass(frozen=True)
class NiivueLock:
    """The release of niivue that was tried.

    Attributes:
        name, version: of the npm package.
        path: of its archive, below a registry's address.
        integrity: hash of the archive, as npm writes it: algorithm, dash, base64.
        member: the file of the archive that is the whole library.
    """

    name: str
    version: str
    path: str
    integrity: str
    member: str


def read_lock() -> NiivueLock:
    """Read which release of niivue belongs to this version."""
    return NiivueLock(**json.loads(LOCK.read_text(encoding="utf-8")))


def npm_registry() -> str:
    """Return the address of the npm registry that this machine is set to."""
    named = os.environ.get("npm_config_registry") or os.environ.get("NPM_CONFIG_REGISTRY")
    if not named and (npm := shutil.which("npm")):
        asked = subprocess.run([npm, "config", "get", "registry"], capture_output=True, text=True, check=False)
        named = asked.stdout.strip() if asked.returncode == 0 else ""
    return named if named and named.startswith(("https://", "http://")) else PUBLIC_REGISTRY


def fetch_archive(lock: NiivueLock, registry: str) -> bytes:
    """Return the archive of the lock file from a registry.

    Raises:
        ValueError: if it is not there, or is larger than any release.
    """
    address = f"{registry.rstrip('/')}/{lock.path}"
    try:
        with urllib.request.urlopen(address, timeout=SECONDS) as response:
            archive = response.read(MAX_BYTES + 1)
    except (OSError, urllib.error.URLError) as error:
        cause = getattr(error, "reason", None) or error
        raise ValueError(
            f"{address}: cannot be fetched ({cause}); give --registry, or --archive with a copy of it"
        ) from None
    if len(archive) > MAX_BYTES:
        raise ValueError(f"{address}: is no release of niivue, it has more than {MAX_BYTES >> 20} MB")
    return archive


def check_archive(archive: bytes, lock: NiivueLock, origin: str) -> None:
    """Check an archive against the hash of the lock file.

    Raises:
        ValueError: if it is another.
    """
    algorithm, _, wanted = lock.integrity.partition("-")
    found = base64.b64encode(hashlib.new(algorithm, archive).digest()).decode()
    if found != wanted:
        raise ValueError(f"{origin}: is not {lock.name} {lock.version} of the lock file (its {algorithm} is {found})")


def build_niivue(archive: bytes, lock: NiivueLock, origin: str, script: Path = SCRIPT) -> Path:
    """Write niivue's file out of its archive; return it.

    Args:
        archive: the .tgz file of npm.
        lock: which release it must be.
        origin: name of the archive in errors.
        script: file to write.

    Raises:
        ValueError: if the archive is not that of the lock file. Nothing is written then.
    """
    check_archive(archive, lock, origin)
    with tarfile.open(fileobj=BytesIO(archive), mode="r:gz") as held:
        member = held.extractfile(lock.member)
        if member is None:
            raise ValueError(f"{origin}: holds no {lock.member}")
        part = script.with_suffix(".part")
        part.write_bytes(member.read())
        part.replace(script)
    return script


def main() -> None:
    """Build niivue into this installation; an error is one line, and exit code 2."""
    parser = argparse.ArgumentParser(prog="build_niivue", description="Put niivue into this installation of Argus.")
    parser.add_argument("--registry", help="address of an npm registry; default: the one npm is set to")
    parser.add_argument("--archive", type=Path, help="copy of the archive, for a machine without a network")
    options = parser.parse_args()
    lock = read_lock()
    try:
        if options.archive is not None:
            archive, origin = options.archive.read_bytes(), str(options.archive)
        else:
            registry = options.registry or npm_registry()
            archive, origin = fetch_archive(lock, registry), registry
        script = build_niivue(archive, lock, origin)
    except (OSError, ValueError) as error:
        print(f"build_niivue: {error}", file=sys.stderr)
        sys.exit(2)
    print(f"niivue {lock.version} is in {script}")


if __name__ == "__main__":
    main()
