import pytest

from argus_processing.whole_files import whole_file, write_text


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    out = tmp_path / "report.txt"
    out.write_text("old")
    with pytest.raises(RuntimeError), whole_file(out) as part:
        part.write_text("half")
        raise RuntimeError
    assert out.read_text() == "old"
    assert list(tmp_path.iterdir()) == [out]


def test_a_finished_write_replaces_the_old_file(tmp_path):
    out = tmp_path / "report.txt"
    out.write_text("old")
    write_text(out, "new é")
    assert out.read_text(encoding="utf-8") == "new é"
    assert list(tmp_path.iterdir()) == [out]


def test_a_missing_folder_and_a_folder_as_file_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        write_text(tmp_path / "no" / "report.txt", "")
    with pytest.raises(IsADirectoryError, match="is a folder"):
        write_text(tmp_path, "")
