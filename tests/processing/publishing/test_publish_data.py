import gzip
import hashlib
import io
import json
import shutil
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from huggingface_hub import DatasetCard, snapshot_download

from argus_processing.curation.decisions import read_decisions
from argus_processing.curation.prepare import PrepareOptions, prepare
from argus_processing.phantom.layouts import write_layout
from argus_processing.publishing import publish_data as publish_data_module
from argus_processing.publishing.disclosures import DisclosureError
from argus_processing.publishing.hub_repository import Destination
from argus_processing.publishing.publish_data import publish_data, publishable_folder


@pytest.fixture(scope="module")
def downloads(tmp_path_factory):
    folder = tmp_path_factory.mktemp("downloads")
    return {name: write_layout(folder / name, name, 4) for name in ("bimcv-r", "inspect")}


@pytest.fixture(scope="module")
def prepared(downloads, tmp_path_factory):
    folder = tmp_path_factory.mktemp("publish")
    prepare(downloads, folder / "out", PrepareOptions(with_volumes=True))
    return folder / "out"


def test_decisions_hold_no_word_of_a_report(prepared, tmp_path):
    staged = publishable_folder(prepared, tmp_path)
    assert {path.parent.name for path in staged.rglob("*.parquet")} == {"decisions"}
    reports = [row["report"] for split in datasets.load_dataset(str(prepared), "all").values() for row in split]
    content = b"".join(path.read_bytes() for path in staged.rglob("*") if path.is_file())
    assert reports and not any(report[:30].encode() in content for report in reports)
    strings = [
        value
        for path in (staged / "decisions").iterdir()
        for row in pq.read_table(path).to_pylist()
        for value in row.values()
        if isinstance(value, str)
    ]
    assert all(" " not in value for value in strings)


def test_the_published_folder_loads_as_a_data_set(prepared, tmp_path):
    staged = publishable_folder(prepared, tmp_path, ("bimcv-r",))
    decided = datasets.load_dataset(str(staged), "decisions-inspect")["train"]
    assert "kept_sentences" in decided.column_names
    rows = datasets.load_dataset(str(staged), "bimcv-r")
    assert sum(len(split) for split in rows.values()) > 0


def test_what_may_not_be_redistributed_is_refused(prepared, tmp_path):
    for source in ("inspect", "ct-rate"):
        with pytest.raises(ValueError, match="may not be redistributed"):
            publishable_folder(prepared, tmp_path, (source,))
    assert not any(tmp_path.iterdir())


def test_rows_of_a_source_whose_terms_are_not_known_are_refused(prepared, tmp_path, monkeypatch):
    monkeypatch.delitem(publish_data_module.TERMS, "bimcv-r")
    with pytest.raises(ValueError, match="^bimcv-r: whether its rows may be redistributed is not known"):
        publishable_folder(prepared, tmp_path, ("bimcv-r",))


def test_only_the_staged_folder_is_uploaded_and_private_is_the_default(local_hub, prepared):
    assert publish_data(prepared, Destination("lab/ct")) == f"{local_hub.address}/datasets/lab/ct"
    repository = local_hub.repositories["datasets", "lab/ct"]
    assert repository.private and repository.messages == ["initial commit", "Upload CT-3DRRG"]
    files = local_hub.files("lab/ct", kind="datasets")
    decisions = {f"decisions/{source}.parquet" for source in ("bimcv-r", "inspect")}
    assert files.keys() == decisions | {".gitattributes", "README.md", "LICENSE.md", "reports.png"}


def test_rows_of_an_earlier_upload_do_not_stay(local_hub, prepared):
    publish_data(prepared, Destination("lab/ct"), ("bimcv-r",))
    assert any(name.startswith("data/bimcv-r/") for name in local_hub.files("lab/ct", kind="datasets"))
    publish_data(prepared, Destination("lab/ct"))
    assert not any(name.startswith("data/") for name in local_hub.files("lab/ct", kind="datasets"))


def test_the_card_says_what_the_hub_shows(prepared, tmp_path):
    staged = publishable_folder(prepared, tmp_path, ("bimcv-r",), "lab/ct")
    card = DatasetCard.load(staged / "README.md")
    assert (card.data.license, card.data.license_link) == ("other", "LICENSE.md")
    assert (card.data.task_categories, card.data.size_categories) == (["image-to-text"], ["n<1K"])
    named = {config["config_name"]: config.get("default") for config in card.data.configs}
    assert named == {"decisions": True, "decisions-bimcv-r": None, "decisions-inspect": None, "bimcv-r": None}
    assert 'load_dataset("lab/ct")' in card.text and "FOLDER" not in card.text.split("## Curation")[0]
    terms = (staged / "LICENSE.md").read_text()
    assert "INSPECT (Stanford" in terms and "BIMCV-R" in terms and "CT-RATE" not in terms
    assert not any(line != line.rstrip() for line in card.text.splitlines())


def as_if_prepared(prepared, tmp_path, name: str, content: bytes) -> Path:
    """A copy of a prepared folder with other content in a file, which its manifest tells as written."""
    folder = Path(shutil.copytree(prepared, tmp_path / "prepared"))
    (folder / name).write_bytes(content)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"][name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def parquet_of(table) -> bytes:
    stream = io.BytesIO()
    pq.write_table(table, stream)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"scan_id": "C:/pacs/doe.nii"}, "a path of Windows"),
        ({"reason": "Doe, effusion"}, "a split or a reason that argus prepare never writes"),
        ({"split": "Doe"}, "a split or a reason that argus prepare never writes"),
        ({"scan_id": "/mnt/pacs/doe.nii.gz"}, r"decisions/inspect.parquet: an absolute path; .*--anonymous-paths"),
        ({"reason": "hf_" + "aB3dE5gH7jK9mN1pQ3sT5vW7xY9z"}, "a Hugging Face token"),
    ],
)
def test_decisions_with_something_private_are_refused(prepared, tmp_path, change, said):
    table = pq.read_table(prepared / "decisions" / "inspect.parquet")
    rows = table.to_pylist()
    changed = parquet_of(table.from_pylist([rows[0] | change, *rows[1:]], schema=table.schema))
    folder = as_if_prepared(prepared, tmp_path, "decisions/inspect.parquet", changed)
    (tmp_path / "staged").mkdir()
    with pytest.raises(DisclosureError, match=said) as caught:
        publishable_folder(folder, tmp_path / "staged")
    assert "doe" not in str(caught.value) and "aB3dE5" not in str(caught.value)


def test_decisions_with_another_column_are_refused(prepared, tmp_path):
    table = pq.read_table(prepared / "decisions" / "inspect.parquet")
    wider = table.append_column("report", pa.array(["No effusion."] * table.num_rows))
    folder = as_if_prepared(prepared, tmp_path, "decisions/inspect.parquet", parquet_of(wider))
    (tmp_path / "staged").mkdir()
    with pytest.raises(DisclosureError, match="inspect.parquet: other columns than argus prepare writes"):
        publishable_folder(folder, tmp_path / "staged")


def test_what_was_changed_after_it_was_prepared_is_refused(prepared, tmp_path):
    folder = Path(shutil.copytree(prepared, tmp_path / "prepared"))
    (folder / "reports.png").write_bytes(b"a scan")
    (tmp_path / "staged").mkdir()
    with pytest.raises(ValueError, match="reports.png: is not as argus prepare wrote it"):
        publishable_folder(folder, tmp_path / "staged")


def test_only_what_argus_prepare_wrote_is_published(prepared, tmp_path):
    folder = Path(shutil.copytree(prepared, tmp_path / "prepared"))
    for name in ("scan.png", "notes.md", "decisions/patients.csv", "decisions/other.parquet", "data/bimcv-r/scan.dcm"):
        (folder / name).write_bytes(b"Doe")
    (tmp_path / "staged").mkdir()
    staged = publishable_folder(folder, tmp_path / "staged", ("bimcv-r",))
    names = {path.relative_to(staged).as_posix() for path in staged.rglob("*") if path.is_file()}
    assert {name for name in names if not name.startswith("data/bimcv-r/t")} <= {
        *("README.md", "LICENSE.md", "reports.png", "decisions/bimcv-r.parquet", "decisions/inspect.parquet"),
        "data/bimcv-r/validation-00000-of-00001.parquet",
    }


def with_header(content: bytes, place: int, text: bytes) -> bytes:
    plain = bytearray(gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content)
    plain[place : place + len(text)] = text
    return bytes(plain)


@pytest.mark.parametrize(
    ("column", "change", "said"),
    [
        (
            "image",
            lambda image: image | {"bytes": with_header(image["bytes"], 148, b"Doe^Anna\0")},
            "a volume's header",
        ),
        ("image", lambda image: image | {"bytes": with_header(image["bytes"], 348, b"\1")}, "extensions of its header"),
        ("image", lambda image: image | {"bytes": b"DICM" * 200}, "no NIfTI file"),
        ("image", lambda image: image | {"path": "/mnt/pacs/ct.nii"}, "a volume's path"),
        ("report", lambda report: f"{report} Patient name: Doe", "an entry on a patient"),
    ],
)
def test_rows_with_something_private_are_refused(prepared, tmp_path, column, change, said):
    path = next((prepared / "data" / "bimcv-r").iterdir())
    table = pq.read_table(path)
    rows = table.to_pylist()
    rows[0][column] = change(rows[0][column])
    content = parquet_of(pa.Table.from_pylist(rows, schema=table.schema))
    folder = as_if_prepared(prepared, tmp_path, f"data/bimcv-r/{path.name}", content)
    (tmp_path / "staged").mkdir()
    with pytest.raises(DisclosureError, match=said) as caught:
        publishable_folder(folder, tmp_path / "staged", ("bimcv-r",))
    assert "Doe" not in str(caught.value)


@pytest.mark.parametrize("way", ["loaded", "saved", "snapshot"])
def test_decisions_from_the_hub_and_a_download_rebuild_the_rows(local_hub, downloads, prepared, tmp_path, way):
    publish_data(prepared, Destination("lab/ct"))
    if way == "snapshot":
        decisions = Path(snapshot_download("lab/ct", repo_type="dataset", local_dir=tmp_path / "snapshot"))
    else:
        decisions = datasets.load_dataset("lab/ct", cache_dir=str(tmp_path / "cache"))
        assert set(decisions) == {"bimcv_r", "inspect"}
    if way == "saved":
        decisions.save_to_disk(tmp_path / "saved")
        decisions = tmp_path / "saved"
    prepare(downloads, tmp_path / "rebuilt", PrepareOptions(with_volumes=True, decisions=decisions))
    for source in ("bimcv-r", "inspect"):
        ours, theirs = (sorted((folder / "data" / source).iterdir()) for folder in (prepared, tmp_path / "rebuilt"))
        assert [path.name for path in ours] == [path.name for path in theirs]
        assert all(a.read_bytes() == b.read_bytes() for a, b in zip(ours, theirs, strict=True))


def test_decisions_on_one_source_alone_say_so(prepared, downloads, tmp_path):
    staged = publishable_folder(prepared, tmp_path)
    one = datasets.load_dataset(str(staged), "decisions-inspect", cache_dir=str(tmp_path / "cache"))
    with pytest.raises(ValueError, match="no decisions on bimcv-r; load the published data set without"):
        read_decisions(one, "bimcv-r")
    assert len(read_decisions(one, "inspect")) == one["train"].num_rows
    with pytest.raises(ValueError, match="no column 'kept_sentences'"):
        read_decisions(one["train"].remove_columns("kept_sentences"), "inspect")


def test_a_dry_run_shows_the_card_and_uses_no_network(local_hub, argus, prepared):
    code, stdout, _ = argus("publish", "data", prepared, "lab/ct", "--dry-run")
    assert code == 0 and local_hub.asked == []
    assert "decisions/inspect.parquet" in stdout and "# CT-3DRRG" in stdout and 'load_dataset("lab/ct")' in stdout
