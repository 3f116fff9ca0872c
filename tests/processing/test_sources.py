import csv

import pytest

from argus_processing.phantom_layouts import LAYOUTS, write_layout
from argus_processing.source_registry import SOURCES, columns_of, read_columns

TABLES = {
    "ct-rate": "dataset/radiology_text_reports/train_reports.csv",
    "bimcv-r": "meta/curated_ct_report_path_En.csv",
    "inspect": "Final_Impressions.csv",
}
TEXT_COLUMNS = {"ct-rate": "Findings_EN", "bimcv-r": "Report_en", "inspect": "impressions"}
TEXT_ROLES = {"ct-rate": "findings", "bimcv-r": "report", "inspect": "impression"}


@pytest.fixture(params=LAYOUTS)
def source(request):
    return request.param


@pytest.fixture
def download(source, tmp_path):
    return write_layout(tmp_path / source, source, 6)


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


def test_ct_rate_joins_findings_and_impression(tmp_path):
    download = write_layout(tmp_path / "ct", "ct-rate", 3)
    with (download / TABLES["ct-rate"]).open(encoding="utf-8", newline="") as file:
        row = next(csv.DictReader(file))
    scan = next(scan for scan in listing_of("ct-rate", download).scans if row["VolumeName"].startswith(scan.scan_id))
    assert scan.report == f"{row['Findings_EN'].strip()}\n{row['Impressions_EN'].strip()}"


def test_a_missing_table_is_named_with_what_is_there(source, download, table):
    table.rename(table.with_name("something.csv"))
    with pytest.raises(ValueError, match=rf"{table.name}: no such file; .* holds .*something\.csv"):
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
