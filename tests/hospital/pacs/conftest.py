import os
import signal
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from drawn_pacs import write_series
from holding_proxy import HoldingProxy
from orthanc_server import OrthancServer, missing_programs
from watching import NUM_SLICES, Watching


@pytest.fixture(scope="session", autouse=True)
def programs():
    """Orthanc and DCMTK must be there; `make test-pacs` says which packages they are in."""
    if missing := missing_programs():
        if os.environ.get("ARGUS_REQUIRE_ORTHANC"):
            raise RuntimeError(missing)
        pytest.skip(missing)


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory) -> Iterator[OrthancServer]:
    server = OrthancServer(tmp_path_factory.mktemp("orthanc"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def proxy(orthanc) -> Iterator[HoldingProxy]:
    """A proxy before Orthanc; its `address` is that of the DICOMweb services."""
    proxy = HoldingProxy(orthanc.http)
    with proxy.running() as address:
        proxy.address = f"{address}/dicom-web"
        yield proxy


@pytest.fixture(scope="module")
def watching(proxy, model_dir, tmp_path_factory) -> Iterator[Watching]:
    """A watcher that runs while the tests of a file do; a test that ends it starts it again."""
    own = Watching(tmp_path_factory.mktemp("watching"), proxy.address, model_dir)
    own.start()
    yield own
    if own.process.poll() is None:
        own.end(signal.SIGTERM)


@pytest.fixture
def study_files(tmp_path, request) -> list[Path]:
    """A chest series of a study of its own."""
    return write_series(tmp_path / "series", zlib.crc32(request.node.name.encode()), NUM_SLICES)
