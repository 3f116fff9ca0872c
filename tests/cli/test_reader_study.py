import socket

import pytest

from argus_cli import reader_study
from argus_evaluation.reader_study.server import serve
from argus_evaluation.reader_study.study import Case, Study


def test_without_the_extra_the_command_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setattr(reader_study, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install '\.\[reader\]'"):
        reader_study.run(tmp_path / "runs.yaml", tmp_path / "out", {}, None, {}, ("127.0.0.1", 0), print)
    assert list(tmp_path.iterdir()) == []


def test_a_taken_port_is_told_and_nothing_is_announced():
    said = []
    with socket.create_server(("127.0.0.1", 0)) as taken:
        with pytest.raises(OSError, match="give another --port"):
            study = Study("test", 0, (Case("phantom", "s1", {"A1": "text"}),))
            serve(study, None, None, None, "127.0.0.1", taken.getsockname()[1], said.append)
    assert said == []


def test_a_name_that_is_none_is_refused_before_anything_is_written(tmp_path):
    arguments = (tmp_path / "runs.yaml", tmp_path / "out", {}, None, {}, ("127.0.0.1", 0), print)
    with pytest.raises(ValueError, match="a reader's name"):
        reader_study.run(*arguments, readers=["ab", "../x"])
    assert list(tmp_path.iterdir()) == []
