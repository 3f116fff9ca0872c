import csv
import json
import os
import shutil
from pathlib import Path

import pytest

from argus_processing.phantom.faults import FAULTS_FILE
from argus_processing.phantom.layout_tables import read_table, write_table
from argus_processing.phantom.layouts import LAYOUTS, write_layout
from argus_processing.sources.ct_rate_version import Rescale, is_raw
from argus_processing.sources.registry import SOURCES, columns_of, read_columns
from argus_processing.sources.tables import TOLERATED

TABLES = {
    "ct-rate": "dataset/radiology_text_reports/train_reports.csv",
    "bimcv-r": "meta/BIMCV_meta.csv",
    "inspect": "impressions_20250611.tsv",
}
CURATED = "meta/curated_ct_report_path_En.csv"
TEXT_COLUMNS = {"ct-rate": "Findings_EN", "bimcv-r": "Report_en", "inspect": "impressions"}
TEXT_ROLES = {"ct-rate": "findings", "bimcv-r": "report", "inspect": "impression"}


@pytest.fixture(params=LAYOUTS)
def source(request):
    return request.param


@pytest.fixture(scope="module")
def layouts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("layouts")
    return {name: write_layout(folder / name, name, 6) for name in LAYOUTS}


def copy_of(layouts, name, tmp_path):
    """A download that a test may change; only its volumes are shared with the others."""
    return Path(shutil.copytree(layouts[name], tmp_path / name, copy_function=_link_volumes))


def _link_volumes(source, target):
    if source.endswith(".nii.gz"):
        return os.symlink(source, target)
    return shutil.copy2(source, target)


@pytest.fixture
def download(source, layouts, tmp_path):
    root = copy_of(layouts, source, tmp_path)
    if source == "bimcv-r":
        (root / CURATED).unlink()  # the other table would stand in
    return root


@pytest.fixture
def table(source, download):
    return download / TABLES[source]


def listing_of(source, download, columns=None):
    return SOURCES[source].list_scans(download, columns)


def kinds(listing) -> list[str]:
    return [problem.kind for problem in listing.problems]


def test_a_whole_download_lists_every_scan_once_without_problems(source, download):
    listing = listing_of(source, download)
    assert not listing.problems
    assert len({scan.scan_id for scan in listing.scans}) == len(listing.scans) == 6
    assert [scan.scan_id for scan in listing.scans] == sorted(scan.scan_id for scan in listing.scans)
    assert all((download / scan.volume).is_file() and scan.report for scan in listing.scans)


def test_ct_rate_joins_findings_and_impression(layouts):
    download = layouts["ct-rate"]
    with (download / TABLES["ct-rate"]).open(encoding="utf-8", newline="") as file:
        row = next(csv.DictReader(file))
    scan = next(scan for scan in listing_of("ct-rate", download).scans if row["VolumeName"].startswith(scan.scan_id))
    assert scan.report == f"{row['Findings_EN'].strip()}\n{row['Impressions_EN'].strip()}"


def test_a_missing_table_is_named_with_what_is_there(source, download, table):
    table.rename(table.with_name("something.csv"))
    pattern = "impressions\\*.tsv" if source == "inspect" else table.name
    there = "meta" if source == "bimcv-r" else r"something\.csv"
    with pytest.raises(ValueError, match=rf"{pattern}: no such file; .* holds .*{there}"):
        listing_of(source, download)


def test_a_missing_column_is_named_with_what_was_found(source, download, table):
    name = TEXT_COLUMNS[source]
    table.write_text(table.read_text(encoding="utf-8").replace(name, "Bericht", 1), encoding="utf-8")
    with pytest.raises(ValueError, match=rf"{table.name}: no column '{name}'; it has .*Bericht.*--columns"):
        listing_of(source, download)
    renamed = columns_of(source, {TEXT_ROLES[source]: "Bericht"})
    if source != "ct-rate":  # its other table still has the old name
        assert len(listing_of(source, download, renamed).scans) == 6


def test_a_broken_row_is_counted_named_and_the_rest_goes_on(source, download, table):
    lines = table.read_bytes().splitlines(keepends=True)
    table.write_bytes(lines[0] + b"only one field\r\n" + b"".join(lines[1:]) + b"\xff\xfe,\xff\r\n")
    listing = listing_of(source, download)
    assert kinds(listing).count("broken_row") == 2
    assert any("line 2" in problem.where for problem in listing.problems)
    assert len(listing.scans) == 6
    assert listing.counts["broken_row"] == 2


def test_a_duplicate_id_keeps_the_first_row(source, download, table):
    before = listing_of(source, download)
    lines = table.read_text(encoding="utf-8").splitlines(keepends=True)
    table.write_text("".join(lines) + lines[-1], encoding="utf-8")
    listing = listing_of(source, download)
    assert kinds(listing) == ["duplicate_row"]
    rows = read_table(table)
    rows[-1][TEXT_COLUMNS[source]] += " Or not."
    write_table(table, rows)
    listing = listing_of(source, download)
    assert kinds(listing) == ["duplicate_id"]
    assert listing.scans == before.scans


def test_an_empty_table_is_refused(source, download, table):
    table.write_bytes(b"")
    with pytest.raises(ValueError, match=f"{table.name}: no column .*it has no columns"):
        listing_of(source, download)


def test_column_names_come_from_yaml_and_are_checked(tmp_path):
    path = tmp_path / "columns.yaml"
    path.write_text("inspect: {impression: text}\n")
    names = read_columns(path)
    assert columns_of("inspect", names["inspect"]).impression == "text"
    assert columns_of("inspect", names["inspect"]).impression_id == "impression_id"
    with pytest.raises(ValueError, match="no column has the role 'imprint'; roles: impression_id"):
        columns_of("inspect", {"imprint": "text"})
    with pytest.raises(ValueError, match="unknown source 'mimic'"):
        columns_of("mimic", {})
    path.write_text("- a\n- b\n")
    with pytest.raises(ValueError, match="must map a source"):
        read_columns(path)
    with pytest.raises(ValueError, match="cannot be read as YAML"):
        read_columns(tmp_path / "nowhere.yaml")


def test_inspect_finds_volumes_by_image_and_patients_in_any_table(layouts, tmp_path):
    root = copy_of(layouts, "inspect", tmp_path)
    due = listing_of("inspect", root).scans
    assert all(scan.scan_id.startswith("PE") and scan.patient_id.isdigit() for scan in due)
    assert {scan.official_split for scan in due} <= {"train", "validation", "test"}
    # In a folder of the release's own, and as comma-separated tables.
    (root / "full").mkdir()
    for path in [*root.glob("*.tsv"), root / "CTPA"]:
        path.rename(root / "full" / path.name)
    for path in (root / "full").glob("*.tsv"):
        write_table(path.with_suffix(".csv"), read_table(path))
        path.unlink()
    moved = listing_of("inspect", root)
    assert not moved.problems
    assert [(scan.scan_id, scan.patient_id, scan.report) for scan in moved.scans] == [
        (scan.scan_id, scan.patient_id, scan.report) for scan in due
    ]


def test_inspect_older_copies_name_volumes_by_impression(layouts, tmp_path):
    root = copy_of(layouts, "inspect", tmp_path)
    mapping = {row["image_id"]: row["impression_id"] for row in read_table(root / "study_mapping_20250611.tsv")}
    for path in list((root / "CTPA").iterdir()):
        path.rename(path.with_name(f"{mapping[path.name.removesuffix('.nii.gz')]}.nii.gz"))
    (root / "study_mapping_20250611.tsv").unlink()
    write_table(root / "Final_Impressions.csv", read_table(root / "impressions_20250611.tsv"))
    (root / "impressions_20250611.tsv").unlink()
    listing = listing_of("inspect", root)
    assert not listing.problems and listing.counts["no_patient_id"] == 0
    assert {scan.scan_id for scan in listing.scans} == set(mapping.values())
    (root / "splits_20250611.tsv").unlink()
    alone = listing_of("inspect", root)
    assert alone.counts["no_patient_id"] == 6
    assert all(scan.patient_id == scan.scan_id for scan in alone.scans)


def test_inspect_takes_a_second_image_of_an_impression_for_a_spare_volume(layouts, tmp_path):
    root = copy_of(layouts, "inspect", tmp_path)
    rows = read_table(root / "study_mapping_20250611.tsv")
    write_table(
        root / "study_mapping_20250611.tsv", [*rows, rows[0] | {"image_id": "PEffff"}, rows[1] | {"image_id": "x"}]
    )
    (root / "CTPA" / "PEffff.nii.gz").touch()
    listing = listing_of("inspect", root)
    assert not listing.problems and len(listing.scans) == 6
    spare = {scan.scan_id: scan.other_volumes for scan in listing.scans if scan.other_volumes}
    assert spare == {rows[0]["image_id"]: ("CTPA/PEffff.nii.gz",)}


def test_inspect_lists_a_volume_once_if_two_impressions_name_it(layouts, tmp_path):
    root = copy_of(layouts, "inspect", tmp_path)
    rows = read_table(root / "study_mapping_20250611.tsv")
    rows[1]["image_id"] = rows[0]["image_id"]
    write_table(root / "study_mapping_20250611.tsv", rows)
    listing = listing_of("inspect", root)
    assert sorted(kinds(listing)) == ["duplicate_id", "volume_without_row"]
    assert len(listing.scans) == 5


def test_inspect_takes_eight_missing_volumes_as_known_and_no_more(tmp_path):
    root = write_layout(tmp_path / "inspect", "inspect", 10, faults=["duplicates", "missing-volumes"])
    listing = listing_of("inspect", root)
    assert listing.counts["known_missing"] == 2
    assert listing.counts["duplicate_row"] == 3  # one row of each table
    assert set(kinds(listing)) == set(TOLERATED)
    for path in sorted((root / "CTPA").iterdir())[:7]:
        path.unlink()
    assert kinds(listing_of("inspect", root)).count("row_without_volume") == 9


def test_bimcv_r_reads_either_table_and_the_first_one_with_a_report(layouts, tmp_path):
    root = copy_of(layouts, "bimcv-r", tmp_path)
    due = listing_of("bimcv-r", root)
    rows = read_table(root / TABLES["bimcv-r"])
    assert [scan.patient_id for scan in due.scans] == sorted(row["PatientID"] for row in rows)
    rows[0]["Report_en"] = "Something wrong with the data! ####"
    rows[1]["PatientID"] = "nan"
    write_table(root / TABLES["bimcv-r"], rows)
    assert listing_of("bimcv-r", root).scans == due.scans
    (root / TABLES["bimcv-r"]).unlink()
    assert listing_of("bimcv-r", root).scans == due.scans


@pytest.mark.parametrize(
    ("ct_path", "path", "found"),
    [
        ("x/{}.nii.gz", "x/mod-rx", 6),
        ("{}", "x/mod-rx", 6),
        ("", "x/{}.nii.gz", 6),
        ("nan", "x/mod-rx", 5),
        ("", "", 5),
    ],
)
def test_bimcv_r_a_row_names_its_volume_by_ct_path_or_a_path_to_a_file(layouts, tmp_path, ct_path, path, found):
    root = copy_of(layouts, "bimcv-r", tmp_path)
    (root / CURATED).unlink()
    rows = read_table(root / TABLES["bimcv-r"])
    name = rows[0]["ct_path"].rsplit("/", 1)[1].removesuffix(".nii.gz")
    rows[0] |= {"ct_path": ct_path.format(name), "path": path.format(name)}
    write_table(root / TABLES["bimcv-r"], rows)
    listing = listing_of("bimcv-r", root)
    assert len(listing.scans) == found
    assert kinds(listing) == ([] if found == 6 else ["broken_row", "volume_without_row"])


def test_bimcv_r_placeholders_are_left_out_with_their_reason(tmp_path):
    root = write_layout(tmp_path / "bimcv-r", "bimcv-r", 6, faults=["placeholders"])
    left_out = [scan for scan in listing_of("bimcv-r", root).scans if scan.left_out]
    assert [scan.left_out[0] for scan in left_out] == ["placeholder_report"]
    assert left_out[0].report == ""


def test_bimcv_r_says_unzip_first(layouts, tmp_path):
    root = copy_of(layouts, "bimcv-r", tmp_path)
    (root / "CT2.zip").touch()
    assert [(p.kind, p.where) for p in listing_of("bimcv-r", root).problems] == [("not_unzipped", "CT2.zip")]
    shutil.rmtree(root / "CT1")
    with pytest.raises(ValueError, match=r"CT2\.zip: still zipped; unzip first"):
        listing_of("bimcv-r", root)
    shutil.rmtree(root / "meta")
    (root / "meta_1.zip").touch()
    with pytest.raises(ValueError, match=r"meta_1\.zip: still zipped; unzip first"):
        listing_of("bimcv-r", root)


def test_ct_rate_leaves_out_other_body_parts_and_reports_without_text(tmp_path):
    root = write_layout(tmp_path / "ct-rate", "ct-rate", 12, faults=["nothing-given", "no-chest"])
    scans = {scan.scan_id: scan for scan in listing_of("ct-rate", root).scans}
    reasons = {name: scan.left_out[0] for name, scan in scans.items() if scan.left_out}
    with (root / "dataset/metadata/no_chest_train.txt").open("a") as file:
        file.write("train_2_a\n'C:\\\\old\\\\train_4_a_2.nii.gz'\n")  # a scan, and a path of another system
    more = {scan.scan_id for scan in listing_of("ct-rate", root).scans if scan.left_out}
    assert more == {*reasons, "train_2_a", "train_4_a"}
    done = [json.loads(line) for line in (root / FAULTS_FILE).read_text().splitlines()]
    assert {entry["at"] for entry in done if entry["fault"] == "no-chest"} == {"train_1_a", "valid_1_a"}
    assert reasons == {
        "train_1_a": "no_chest",
        "valid_1_a": "no_chest",
        "train_9_a": "no_report",
        "valid_2_a": "no_report",
    }
    assert not any("not given" in scan.report.lower() or "nan" in scan.report.split() for scan in scans.values())
    without_impression = scans["train_3_a"]
    assert "\n" not in without_impression.report and without_impression.report


def test_ct_rate_without_its_lists_of_other_body_parts_says_so(layouts, tmp_path):
    root = copy_of(layouts, "ct-rate", tmp_path)
    for path in root.rglob("no_chest_*.txt"):
        path.unlink()
    assert kinds(listing_of("ct-rate", root)) == ["missing_list"]


def test_ct_rate_known_missing_volumes_are_counted_and_no_problem(layouts, tmp_path):
    root = copy_of(layouts, "ct-rate", tmp_path)
    rows = read_table(root / TABLES["ct-rate"])
    write_table(root / TABLES["ct-rate"], [*rows, rows[0] | {"VolumeName": "train_14384_a_2.nii.gz"}])
    assert kinds(listing_of("ct-rate", root)) == ["known_missing"]


@pytest.mark.parametrize("metadata", ["kept", "lost"])
def test_ct_rate_version_1_is_refused_at_once(tmp_path, metadata):
    root = write_layout(tmp_path / "ct-rate", "ct-rate", 4, faults=["version-1"])
    if metadata == "lost":
        for path in root.rglob("*_metadata.csv"):
            path.unlink()
    with pytest.raises(ValueError, match=r"train: \d of \d volumes looked at hold raw values.*version 1.*train_fixed"):
        listing_of("ct-rate", root)


def test_ct_rate_volumes_in_hounsfield_units_are_not_taken_for_raw(layouts):
    verdicts = [is_raw(path, how) for path in layouts["ct-rate"].rglob("*.nii.gz") for how in (None, Rescale(1, -1024))]
    assert verdicts and not any(verdicts)
