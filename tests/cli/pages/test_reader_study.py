import inspect
import socket

import pytest

from argus_cli import benchmark
from argus_cli.pages import reader_study
from argus_evaluation.reader_study.server import serve
from argus_evaluation.reader_study.study import CASES_PER_SUBSET, Case, Study, StudyOptions, read_study
from argus_inference.viewer import niivue_file


def test_without_the_extra_the_command_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setattr(reader_study, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install '\.\[reader\]'"):
        reader_study.run(tmp_path / "runs.yaml", tmp_path / "out", StudyOptions(), None, {}, ("127.0.0.1", 0), print)
    assert list(tmp_path.iterdir()) == []


def test_without_niivue_the_command_says_how_to_build_it(argus, make_runs, monkeypatch, tmp_path):
    monkeypatch.setattr(niivue_file, "SCRIPT", tmp_path / "niivue.js")
    runs = make_runs({("A", "nr", "ct-rate"): {"s1": ("told", "true")}})
    code, stdout, stderr = argus("reader-study", tmp_path / "study", "--runs", runs, "--reader", "ab")
    assert (code, stdout) == (2, "") and "make viewer" in stderr.splitlines()[-1]
    assert not (tmp_path / "study").exists()


def test_a_taken_port_is_told_and_nothing_is_announced():
    said = []
    with socket.create_server(("127.0.0.1", 0)) as taken:
        with pytest.raises(OSError, match="give another --port"):
            study = Study("test", 0, (Case("phantom", "s1", {"A1": "text"}),))
            serve(study, None, None, None, "127.0.0.1", taken.getsockname()[1], said.append)
    assert said == []


def test_a_name_that_is_none_is_refused_before_anything_is_written(tmp_path, some_niivue):
    arguments = (tmp_path / "runs.yaml", tmp_path / "out", StudyOptions(), None, {}, ("127.0.0.1", 0), print)
    with pytest.raises(ValueError, match="a reader's name"):
        reader_study.run(*arguments, readers=["ab", "../x"])
    assert list(tmp_path.iterdir()) == []


def test_a_subset_with_fewer_cases_than_asked_for_is_told():
    cases = [Case("ct-rate", f"s{n}", {"A1": "text"}) for n in range(3)] + [Case("inspect", "s", {"A1": "text"})]
    told = list(reader_study.too_few_cases(Study("test", 0, tuple(cases)), 3))
    assert told == ["inspect: 1 cases, all that the runs hold; 3 were asked for"]


def test_the_command_draws_as_many_cases_as_the_paper():
    assert inspect.signature(benchmark.reader_study).parameters["cases"].default == CASES_PER_SUBSET == 100


def test_the_cases_can_be_drawn_without_a_page(argus, make_runs, tmp_path):
    reports = {"s1": ("told", "true"), "s2": ("told", "true")}
    runs = make_runs({(system, "nr", "ct-rate"): reports for system in ("A", "B", "C")})
    systems = ("--system", "A nr", "--system", "C nr")
    code, _, stderr = argus("reader-study", tmp_path / "study", "--runs", runs, *systems, "--without-page")
    assert code == 0 and "ct-rate: 2 cases, all that the runs hold; 100 were asked for" in stderr
    assert read_study(tmp_path / "study").systems == ("A nr", "C nr")
    code, table, _ = argus("table4", tmp_path / "study", tmp_path)
    assert code == 0 and "| A nr | missing |" in table and "0 readers" in table and "B nr" not in table
