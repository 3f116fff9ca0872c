import datasets
import pyarrow.parquet as pq
import pytest

from argus_processing.curation import publish as publish_module
from argus_processing.curation.prepare import PrepareOptions, prepare
from argus_processing.curation.publish import publish, publishable_folder
from argus_processing.phantom.layouts import write_layout


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("publish")
    roots = {name: write_layout(folder / name, name, 4) for name in ("bimcv-r", "inspect")}
    prepare(roots, folder / "out", PrepareOptions(with_volumes=True))
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


def test_only_the_staged_folder_is_uploaded_and_private_is_the_default(prepared, monkeypatch):
    calls = {}

    class Hub:
        def create_repo(self, repo_id, **options):
            calls["create"] = (repo_id, options["private"])
            return f"https://hub/{repo_id}"

        def upload_folder(self, folder_path, **options):
            calls["files"] = sorted(path.suffix for path in folder_path.rglob("*") if path.is_file())

    monkeypatch.setattr(publish_module, "HfApi", Hub)
    assert publish(prepared, "lab/ct") == "https://hub/lab/ct"
    assert calls == {"create": ("lab/ct", True), "files": [".md", ".parquet", ".parquet", ".png"]}
