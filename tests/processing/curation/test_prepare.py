import errno
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path

import datasets
import pyarrow.parquet as pq
import pytest

from argus_processing.ct3drrg import register
from argus_processing.curation import dataset_folder, volume_records
from argus_processing.curation import prepare as prepare_module
from argus_processing.curation.prepare import PrepareOptions, prepare
from argus_processing.curation.prepared_folder import MANIFEST, read_manifest
from argus_processing.curation.volume_engines import ENGINES
from argus_processing.phantom.faults import FAULTS, FAULTS_FILE
from argus_processing.phantom.layouts import LAYOUTS, TRUTH_FILE, write_layout
from argus_processing.report_text import count_tokens
from argus_processing.sources.tables import TOLERATED

register()
NUM_SCANS = 60


@pytest.fixture(scope="session")
def downloads(tmp_path_factory):
    folder = tmp_path_factory.mktemp("downloads")
    return {name: write_layout(folder / name, name, NUM_SCANS) for name in LAYOUTS}


@pytest.fixture(autouse=True)
def reading_here(monkeypatch, request):
    """Read volumes in this process, where a test can step in, and which takes no second to start."""
    if "worker_processes" not in request.fixturenames:
        monkeypatch.setitem(ENGINES, "local", lambda tasks, workers: map(volume_records.examine_volume, tasks))


@pytest.fixture
def worker_processes():
    """Volumes are read in worker processes, as they are by the command."""


@pytest.fixture(scope="session")
def prepared(downloads, tmp_path_factory):
    out = tmp_path_factory.mktemp("prepared") / "ct3drrg"
    return out, prepare(downloads, out)


def files_of(out: Path) -> dict[str, bytes]:
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file() and ".prepare" not in path.parts
    }


def truth_of(download: Path) -> list[dict]:
    return [json.loads(line) for line in (download / TRUTH_FILE).read_text().splitlines()]


def rows_of(out: Path, name: str = "all") -> list[dict]:
    splits = datasets.load_dataset(str(out), name)
    return [row for split in splits.values() for row in split.cast_column("image", datasets.Nifti(decode=False))]


def test_every_listed_scan_is_kept_or_set_aside_with_a_reason(prepared):
    _, result = prepared
    assert result.manifest["phantoms"] == ["ct-rate", "bimcv-r", "inspect"]  # as each download says
    for counts in result.manifest["counts"].values():
        aside = sum(counts.get(name, 0) for name in ("unreadable_volume", "duplicate_volume", "short_report"))
        assert counts["train"] + counts["validation"] + counts["test"] + aside == counts["listed"] > 0
    assert not result.problems


def expected_of(download: Path, source: str) -> dict[str, dict]:
    """By scan: what curation must come to, from the truth alone. Of CT-RATE, the first reconstruction."""
    expected = {}
    for row in truth_of(download):
        name = Path(row["file"]).name.removesuffix(".nii.gz")
        if source == "ct-rate":
            name, number = name.rsplit("_", 1)
            if number != "1":
                continue
        expected[name] = row
    return expected


def test_every_report_is_what_was_there_before_it_was_made_raw(downloads, prepared):
    out, _ = prepared
    checked = 0
    for row in rows_of(out):
        truth = expected_of(downloads[row["source"]], row["source"])[row["scan_id"]]
        if row["source"] == "ct-rate" and row["scan_id"].startswith("valid"):
            assert all(entry["sentence"] in row["report"] for entry in truth["injected"])
        else:
            assert row["report"] == truth["clean"]
            checked += 1
    assert checked > NUM_SCANS


def test_the_counts_are_those_of_the_truth(downloads, prepared):
    out, result = prepared
    dropped = [json.loads(line) for line in (out / "logs/dropped_sentences.jsonl").read_text().splitlines()]
    for source, download in downloads.items():
        expected, counts = expected_of(download, source), result.manifest["counts"][source]
        assert counts["listed"] == len(expected)
        if source == "ct-rate":
            assert counts["other_reconstruction"] == len(truth_of(download)) - len(expected)
            expected = {name: row for name, row in expected.items() if name.startswith("train")}
        else:
            assert counts["duplicate_volume"] == 1
            assert counts["short_report"] == sum(count_tokens(row["clean"]) < 10 for row in expected.values())
        found = {(entry["scan_id"], entry["rule"], entry["sentence"]) for entry in dropped if entry["source"] == source}
        aside = {entry["scan_id"] for entry in set_aside_of(out) if entry["reason"] == "duplicate_volume"}
        due = {
            (name, entry["rule"], entry["sentence"])
            for name, row in expected.items()
            for entry in row["injected"]
            if name not in aside
        }
        assert found == due
        assert len(due) >= 10


def set_aside_of(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / "logs/set_aside.jsonl").read_text().splitlines()]


def test_both_ways_of_loading_give_the_same_rows(prepared, tmp_path):
    out, result = prepared
    assert set(result.manifest["counts"]) == set(LAYOUTS)
    for name in ("all", *LAYOUTS):
        plain = rows_of(out, name)
        ours = datasets.load_dataset("ct3drrg", name, data_dir=str(out), cache_dir=str(tmp_path / "cache"))
        own = [row for split in ours.values() for row in split.cast_column("image", datasets.Nifti(decode=False))]
        assert own == plain
        assert len(own) == result.manifest["statistics"][name]["scans"]


def test_a_folder_prepared_anew_is_not_read_from_the_old_cache(downloads, tmp_path):
    found = []
    for name in ("bimcv-r", "inspect"):
        out = tmp_path / name / "ct3drrg"
        prepare({name: downloads[name]}, out)
        for load in (str(out), "ct3drrg"):
            data_dir = {"data_dir": str(out)} if load == "ct3drrg" else {}
            splits = datasets.load_dataset(load, "all", cache_dir=str(tmp_path / "cache"), **data_dir)
            found.append({source for split in splits.values() for source in split["source"]})
    assert found == [{"bimcv-r"}] * 2 + [{"inspect"}] * 2


def test_a_row_opens_as_the_volume_and_streams(prepared):
    out, _ = prepared
    row = next(iter(datasets.load_dataset("ct3drrg", "inspect", data_dir=str(out), split="train", streaming=True)))
    assert list(row["image"].shape[::-1]) == row["shape"] or sorted(row["image"].shape) == sorted(row["shape"])
    plain = next(iter(datasets.load_dataset(str(out), "inspect", split="train", streaming=True)))
    assert plain["scan_id"] == row["scan_id"]


def test_no_patient_is_in_two_splits(prepared):
    out, _ = prepared
    splits = datasets.load_dataset(str(out), "all")
    patients = [
        {(row["source"], row["patient_id"]) for row in split.remove_columns("image")} for split in splits.values()
    ]
    assert sum(map(len, patients)) == len(set().union(*patients))


def test_two_workers_write_the_same_bytes(worker_processes, downloads, prepared, tmp_path):
    out, _ = prepared
    prepare(downloads, tmp_path / "two", PrepareOptions(workers=2))
    assert files_of(tmp_path / "two") == files_of(out)


def test_two_workers_on_ray_write_the_same_bytes(downloads, prepared, tmp_path):
    pytest.importorskip("ray")
    out, _ = prepared
    script = (
        "import signal, sys; from pathlib import Path\n"
        "from argus_processing.curation.prepare import PrepareOptions, prepare\n"
        "on_sigterm = signal.getsignal(signal.SIGTERM)\n"
        "downloads = {Path(p).name: Path(p) for p in sys.argv[2:]}\n"
        "prepare(downloads, Path(sys.argv[1]), PrepareOptions(workers=2, engine='ray'))\n"
        "assert signal.getsignal(signal.SIGTERM) == on_sigterm\n"
    )
    # In a process of its own: Ray leaves threads behind, beside which other tests would fork their workers.
    command = [sys.executable, "-c", script, str(tmp_path / "two"), *map(str, downloads.values())]
    assert subprocess.run(command, capture_output=True, text=True).returncode == 0
    assert files_of(tmp_path / "two") == files_of(out)


def test_a_killed_run_goes_on_without_reading_again(downloads, prepared, tmp_path, monkeypatch):
    out, _ = prepared
    again = tmp_path / "again"
    script = (
        "import os, sys; from pathlib import Path; from argus_processing.curation import volume_records as r\n"
        "from argus_processing.curation.volume_engines import ENGINES\n"
        "ENGINES['local'] = lambda tasks, workers: map(r.examine_volume, tasks)\n"
        "from argus_processing.curation.prepare import prepare\n"
        "real, left = r.read_ct, [5]\n"
        "def read(path):\n"
        "    left[0] -= 1\n"
        "    if left[0] < 0: os.kill(os.getpid(), 9)\n"
        "    return real(path)\n"
        "r.read_ct = read\n"
        "prepare({Path(p).name: Path(p) for p in sys.argv[2:]}, Path(sys.argv[1]))\n"
    )
    command = [sys.executable, "-c", script, str(again), *map(str, downloads.values())]
    assert subprocess.run(command, capture_output=True).returncode == -9
    assert not (again / MANIFEST).exists()
    read = []
    real = volume_records.read_ct
    monkeypatch.setattr(volume_records, "read_ct", lambda path: read.append(path) or real(path))
    prepare(downloads, again)
    listed = sum(counts["listed"] for counts in read_manifest(again)["counts"].values())
    assert len(read) == listed - 5
    assert files_of(again) == files_of(out)


def test_a_run_killed_while_it_puts_its_result_in_place_goes_on(downloads, prepared, tmp_path, monkeypatch):
    real, left = os.replace, [2]

    def replace(source, target):
        if Path(source).parent.name == "staged":
            left[0] -= 1
            if left[0] < 0:
                raise KeyboardInterrupt
        return real(source, target)

    monkeypatch.setattr(dataset_folder.os, "replace", replace)
    with pytest.raises(KeyboardInterrupt):
        prepare(downloads, tmp_path / "again")
    assert not (tmp_path / "again" / MANIFEST).exists()
    monkeypatch.undo()
    prepare(downloads, tmp_path / "again")
    assert files_of(tmp_path / "again") == files_of(prepared[0])


def documented(name: str) -> dict:
    return json.loads((Path(__file__).parent / "phantom_counts.json").read_text())[name]


def test_the_counts_are_the_documented_ones(prepared):
    assert prepared[1].manifest["counts"] == documented("plain")


def test_the_folder_holds_its_numbers_beside_the_papers(prepared):
    out, result = prepared
    table = (out / "table1.md").read_text()
    assert "| ct-rate | train | 39 | 21,715 | -21,676 |" in table
    assert "- Phantoms, not patients: ct-rate, bimcv-r, inspect." in table
    assert result.manifest["files"]["table1.md"]["bytes"] == len(table.encode())


def test_faults_of_the_real_downloads_are_counted_and_nothing_else(tmp_path):
    faults = {name: [fault for fault in FAULTS[name] if fault not in ("version-1", "zipped")] for name in LAYOUTS}
    downloads = {name: write_layout(tmp_path / name, name, 20, faults=faults[name]) for name in LAYOUTS}
    result = prepare(downloads, tmp_path / "out")
    assert result.manifest["counts"] == documented("with_faults")
    done = {
        name: [json.loads(line) for line in (downloads[name] / FAULTS_FILE).read_text().splitlines()]
        for name in LAYOUTS
    }
    at = {(entry["fault"], entry["at"]) for entries in done.values() for entry in entries}
    aside = {(entry["reason"], entry["scan_id"]) for entry in set_aside_of(tmp_path / "out")}
    assert {place for fault, place in at if fault == "no-chest"} == {scan for kind, scan in aside if kind == "no_chest"}
    assert len([kind for kind, _ in aside if kind == "placeholder_report"]) == len(done["bimcv-r"])
    rows = rows_of(tmp_path / "out")
    cut = next(place for fault, place in at if fault == "cut-reconstruction")
    used = next(row for row in rows if cut.startswith(f"{row['scan_id']}_"))
    assert used["image"]["path"].endswith("_2.nii.gz")
    assert [problem.where for problem in result.problems if problem.kind not in TOLERATED] == [
        f"ct-rate {used['scan_id']}: {cut}"
    ]
    for row in rows:
        assert "Something wrong" not in row["report"] and "<" not in row["report"]
        assert "not given" not in row["report"].lower() and "personally" not in row["report"]


def test_a_linked_download_gives_the_same_rows(downloads, prepared, tmp_path):
    (tmp_path / "linked").mkdir()
    for path in downloads["inspect"].iterdir():
        (tmp_path / "linked" / path.name).symlink_to(path)
    prepare({"inspect": tmp_path / "linked"}, tmp_path / "out")
    linked = [row | {"image": None} for row in rows_of(tmp_path / "out", "inspect")]
    assert linked == [row | {"image": None} for row in rows_of(prepared[0], "inspect")]


def test_published_decisions_rebuild_the_same_rows(downloads, prepared, tmp_path):
    out, _ = prepared
    published = tmp_path / "published"
    shutil.copytree(out / "decisions", published / "decisions")
    prepare(downloads, tmp_path / "rebuilt", PrepareOptions(decisions=published))
    assert rows_of(tmp_path / "rebuilt") == rows_of(out)


def test_embedded_volumes_need_no_download(downloads, tmp_path):
    root = tmp_path / "inspect"
    shutil.copytree(downloads["inspect"], root)
    prepare({"inspect": root}, tmp_path / "out", PrepareOptions(with_volumes=True))
    shutil.rmtree(root)
    for split in datasets.load_dataset(str(tmp_path / "out"), "inspect").values():
        assert all(sorted(row["image"].shape) == sorted(row["shape"]) for row in split)


def test_embedded_volumes_are_divided_by_their_bytes(downloads, prepared, tmp_path):
    sizes = [path.stat().st_size for path in (downloads["inspect"] / "CTPA").iterdir()]
    limit = 3 * max(sizes)
    shutil.copytree(prepared[0] / ".prepare", tmp_path / "out/.prepare")  # nothing is read again
    prepare(
        {"inspect": downloads["inspect"]}, tmp_path / "out", PrepareOptions(with_volumes=True, max_shard_bytes=limit)
    )
    shards = sorted((tmp_path / "out/data/inspect").glob("train-*.parquet"))
    held = [[len(image["bytes"]) for image in pq.read_table(shard)["image"].to_pylist()] for shard in shards]
    assert all(sum(sizes) <= limit for sizes in held)
    # Cut no earlier than needed: the next volume would not have fitted.
    assert all(sum(sizes) + following[0] > limit for sizes, following in pairwise(held))
    assert [path.name for path in shards] == [f"train-{n:05d}-of-{len(held):05d}.parquet" for n in range(len(held))]
    embedded = [row | {"image": None} for row in rows_of(tmp_path / "out")]
    assert embedded == [row | {"image": None} for row in rows_of(prepared[0], "inspect")]


def test_a_volume_that_no_file_can_hold_is_left_out_and_named(downloads, prepared, tmp_path, monkeypatch):
    shutil.copytree(prepared[0] / ".prepare", tmp_path / "out/.prepare")
    sizes = sorted(path.stat().st_size for path in (downloads["inspect"] / "CTPA").iterdir())
    monkeypatch.setattr(prepare_module, "MAX_EMBEDDED_BYTES", sizes[-2])
    result = prepare({"inspect": downloads["inspect"]}, tmp_path / "out", PrepareOptions(with_volumes=True))
    assert [problem.detail for problem in result.problems] == [prepare_module.TOO_LARGE_TO_EMBED]


@pytest.mark.parametrize("give_up_after", [5, 50])
def test_when_everything_fails_the_commonest_cause_is_told_and_logged(downloads, tmp_path, give_up_after):
    root = tmp_path / "inspect"
    shutil.copytree(downloads["inspect"], root)
    volumes = sorted((root / "CTPA").iterdir())
    for path in volumes[12:]:
        path.unlink()
    for path in volumes[:12]:
        path.write_bytes(b"")
    (root / "CTPA" / volumes[0].name).write_bytes(b"not a scan")
    with pytest.raises(ValueError) as told:
        prepare({"inspect": root}, tmp_path / "out", PrepareOptions(give_up_after=give_up_after))
    message = str(told.value)
    assert "\n" not in message and "the file is empty" in message and str(tmp_path / "out/logs") in message
    log = [json.loads(line) for line in (tmp_path / "out/logs/problems.jsonl").read_text().splitlines()]
    kinds = Counter(entry["kind"] for entry in log)
    assert kinds["row_without_volume"] == NUM_SCANS - 12
    if give_up_after == 50:
        assert "unreadable_volume (11 of 12)" in message and kinds["unreadable_volume"] == 12
    assert not (tmp_path / "out" / MANIFEST).exists()


def test_a_download_without_any_pair_says_so_and_may_be_tried_again(downloads, tmp_path):
    root = tmp_path / "inspect"
    shutil.copytree(downloads["inspect"], root, ignore=lambda folder, names: names if "CTPA" in folder else [])
    for _ in range(2):
        with pytest.raises(ValueError, match=r"no scan is left .* is row_without_volume \(60 of 60\)"):
            prepare({"inspect": root}, tmp_path / "out")


def test_the_card_tells_what_the_rules_cost(prepared):
    out, result = prepared
    cost = result.manifest["cost_of_rules"]
    assert set(cost) == {*LAYOUTS, "all"}
    dropped = sum(cost["inspect"]["tokens_dropped"].values())
    assert 0 < dropped == pytest.approx(1 - cost["inspect"]["tokens_kept"], abs=2e-4)
    card = (out / "README.md").read_text()
    assert f"| inspect | {cost['inspect']['reports']} | {100 * cost['inspect']['tokens_kept']:.1f} % |" in card
    nodules = cost["all"]["named"]["nodule"]
    assert 0 < nodules["after"] <= nodules["before"]
    assert f"{nodules['after']} of {nodules['before']} |\n" in card


def test_damage_is_counted_named_and_does_not_stop_the_rest(downloads, prepared, tmp_path):
    root = tmp_path / "inspect"
    shutil.copytree(downloads["inspect"], root)
    volumes = sorted((root / "CTPA").iterdir())
    volumes[0].write_bytes(volumes[0].read_bytes()[:2000])
    volumes[1].write_bytes(b"")
    volumes[2].unlink()
    (root / "CTPA" / "stranger.nii.gz").write_bytes(volumes[3].read_bytes())
    result = prepare({"inspect": root}, tmp_path / "out")
    kinds = sorted(problem.kind for problem in result.problems)
    # INSPECT's own release lacks up to eight volumes, so one that is missing is no fault of the download.
    assert kinds == ["known_missing", "unreadable_volume", "unreadable_volume", "volume_without_row"]
    assert not result.is_sound
    log = [json.loads(line) for line in (tmp_path / "out/logs/problems.jsonl").read_text().splitlines()]
    assert [entry["kind"] for entry in log] == [problem.kind for problem in result.problems]
    named = " ".join(problem.where for problem in result.problems)
    assert all(volume.name.removesuffix(".nii.gz") in named for volume in volumes[:3]) and "stranger" in named
    undamaged = prepared[1].manifest["statistics"]["inspect"]["scans"]
    assert undamaged - 3 <= result.manifest["statistics"]["inspect"]["scans"] <= undamaged


def test_a_full_disk_while_reading_loses_nothing(downloads, prepared, tmp_path, monkeypatch):
    def full(path, record):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(volume_records, "_save_record", full)
    result = prepare(downloads, tmp_path / "out")
    assert {problem.kind for problem in result.problems} == {"record_not_kept"}
    assert rows_of(tmp_path / "out") == rows_of(prepared[0])


def test_a_full_disk_at_the_end_leaves_the_last_result(downloads, tmp_path, monkeypatch):
    out = tmp_path / "out"
    prepare({"inspect": downloads["inspect"]}, out)
    before = files_of(out)

    def full(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(prepare_module, "write_decisions", full)
    with pytest.raises(OSError, match="could not be written .*make room and start again"):
        prepare({"inspect": downloads["inspect"]}, out)
    assert files_of(out) == before
    assert not (out / ".prepare" / "staged").exists()


def test_what_cannot_work_is_refused_in_words(downloads, tmp_path):
    with pytest.raises(ValueError, match="at least one source out of"):
        prepare({}, tmp_path / "out")
    with pytest.raises(ValueError, match="no such folder"):
        prepare({"inspect": tmp_path / "nowhere"}, tmp_path / "out")
    with pytest.raises(ValueError, match="lies in the download"):
        prepare({"inspect": downloads["inspect"]}, downloads["inspect"] / "out")
    with pytest.raises(ValueError, match="unknown engine"):
        prepare({"inspect": downloads["inspect"]}, tmp_path / "out", PrepareOptions(engine="spark"))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("do not touch")
    with pytest.raises(ValueError, match="did not write"):
        prepare({"inspect": downloads["inspect"]}, tmp_path / "mine")
    with pytest.raises(Exception, match="made by argus prepare|needs data_dir"):
        datasets.load_dataset("ct3drrg", "inspect")
