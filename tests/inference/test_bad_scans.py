"""One scan that cannot be read, whatever the reason, costs nothing but itself."""

import json
import os
import signal
import sys

import datasets
import pytest

from argus_evaluation.benchmark.benchmark import evaluate_model
from argus_evaluation.metrics.nlp_metrics import METRICS
from argus_inference import generation, scan_reports
from argus_inference.scan_reports import ScanFailure, ScanReport, write_reports
from argus_processing import ct_checks, read_ct
from argus_processing.failures import explain, reason_of

SECRET = "DOE^JOHN"


class PanicException(BaseException):
    """As pyo3 raises it: no `except Exception` sees it."""


FAULTS = {
    "memory": (MemoryError(), "needs more memory"),
    "library": (KeyError(SECRET), "could not be read (KeyError)"),
    "recursion": (RecursionError(SECRET), "could not be read (RecursionError)"),
    "panic": (PanicException(SECRET), "could not be read (PanicException)"),
    "torch": (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried 1 TB"), "needs more memory"),
    "system": (OSError(5, "Input/output error", "scan.nii"), "scan.nii: Input/output error"),
    "reader": (ct_checks.read_error("scan.nii", "is empty", "give another"), "scan.nii: is empty; give another"),
}


@pytest.mark.parametrize(("fault", "reason"), FAULTS.values(), ids=FAULTS)
def test_every_fault_of_a_scan_is_one_line_without_its_content(fault, reason):
    said = reason_of(fault)
    assert reason in said and SECRET not in said and "\n" not in said


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_what_ends_the_program_is_no_fault_of_a_scan(stop):
    with pytest.raises(stop):
        reason_of(stop())


def test_what_a_library_wraps_is_looked_for_behind_it():
    full = OSError(28, "No space left on device", "cache")
    wrapped = datasets.exceptions.DatasetGenerationError("An error occurred while generating the dataset")
    wrapped.__cause__ = full
    assert explain(wrapped) == "cache: the disk is full"
    assert explain(KeyError(SECRET)) is None
    assert "\n" not in explain(ValueError("line\n" * 1000)) and len(explain(ValueError("x" * 5000))) < 1100


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(28, "No space left on device", "from.py", None, "to.py"), "to.py: the disk is full"),
        (OSError(2, "No such file or directory", "from.py", None, "to.py"), "from.py: No such file or directory"),
        (OSError(28, "out: could not be written; make room"), "out: could not be written; make room"),
    ],
)
def test_an_error_of_the_system_names_the_file_at_fault_and_no_number(error, said):
    assert explain(error) == said


def break_reading(monkeypatch, bad, fault):
    """Let the reader fail with `fault` on the scan `bad`."""
    reader = sys.modules["argus_processing.read_ct"]  # the package's own `read_ct` is the function
    read = reader.read_ct

    def read_or_fail(path):
        if str(path) == str(bad):
            raise fault
        return read(path)

    monkeypatch.setattr(reader, "read_ct", read_or_fail)


@pytest.mark.parametrize("batch_size", [1, 3])
@pytest.mark.parametrize("kind", ["memory", "library", "panic"])
def test_reports_around_a_scan_that_fails_are_the_same_as_alone(monkeypatch, loaded, scans, kind, batch_size):
    alone = [result.report for result in write_reports(*loaded, [scans[0], scans[2]], max_new_tokens=4)]
    break_reading(monkeypatch, scans[1], FAULTS[kind][0])
    first, failed, last = write_reports(*loaded, scans[:3], batch_size=batch_size, max_new_tokens=4)
    assert [first.report, last.report] == alone
    assert isinstance(failed, ScanFailure) and FAULTS[kind][1] in failed.error


def test_a_scan_over_which_the_model_fails_costs_no_other_of_its_batch(monkeypatch, loaded, scans):
    alone = [result.report for result in write_reports(*loaded, [scans[0], scans[2]], max_new_tokens=4)]
    generate, bad = scan_reports.generate_batch, read_ct(scans[1]).hu

    def generate_or_fail(model, processor, images, *rest):
        if any(image.hu.shape == bad.shape and (image.hu == bad).all() for image in images):
            raise RuntimeError(SECRET)
        return generate(model, processor, images, *rest)

    monkeypatch.setattr(scan_reports, "generate_batch", generate_or_fail)
    results = list(write_reports(*loaded, scans[:3], batch_size=3, max_new_tokens=4))
    assert [type(result) for result in results] == [ScanReport, ScanFailure, ScanReport]
    assert [results[0].report, results[2].report] == alone
    assert results[1].error == "could not be reported on (RuntimeError)"


def test_an_interrupted_report_keeps_what_is_finished_and_says_so(argus, monkeypatch, model_dir, scans, tmp_path):
    generate, count = scan_reports.generate_batch, []

    def generate_then_stop(*arguments):
        count.append(1)
        if len(count) == 3:
            os.kill(os.getpid(), stop)
        return generate(*arguments)

    monkeypatch.setattr(scan_reports, "generate_batch", generate_then_stop)
    out = tmp_path / "reports.jsonl"
    for stop in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # Under nohup hang-ups are ignored, by whoever started the tests and so by the command too.
        handler = signal.default_int_handler if stop == signal.SIGINT else signal.SIG_DFL
        before = signal.signal(stop, handler)
        count.clear()
        options = ("--model", model_dir, "--json", "--out", out, "--max-new-tokens", 4)
        code, stdout, stderr = argus("report", *scans[:4], *options)
        assert code == 130 and "interrupted" in stderr.splitlines()[-1]
        assert out.read_text() == stdout and len(stdout.splitlines()) == 2
        assert list(tmp_path.iterdir()) == [out]
        assert signal.getsignal(stop) is handler
        signal.signal(stop, before)
        out.unlink()


def test_finished_reports_are_on_the_disk_before_the_end(argus, monkeypatch, model_dir, scans, tmp_path):
    from argus_cli import report

    out, seen = tmp_path / "reports.txt", []
    generate = scan_reports.generate_batch
    monkeypatch.setattr(report, "SAVE_SECONDS", 0)

    def look_then_generate(*arguments):
        seen.append(out.exists() and out.read_text())
        return generate(*arguments)

    monkeypatch.setattr(scan_reports, "generate_batch", look_then_generate)
    assert argus("report", *scans[:3], "--model", model_dir, "--out", out, "--max-new-tokens", 4)[0] == 0
    assert seen[0] is False and out.read_text().startswith(seen[2]) and seen[2].startswith(seen[1]) and seen[1]


def test_an_unexpected_error_is_one_line_without_its_text(argus, monkeypatch, model_dir, scans):
    from argus_cli import report

    def fail(*arguments, **options):
        raise KeyError(SECRET)

    monkeypatch.setattr(report, "write_reports", fail)
    code, stdout, stderr = argus("report", scans[0], "--model", model_dir)
    assert (code, stdout) == (1, "")
    assert stderr.splitlines()[-1].startswith("argus: stopped by an unexpected KeyError") and SECRET not in stderr
    assert "Traceback" not in stderr


def test_a_bad_scan_is_left_out_and_repaired_by_the_next_start(monkeypatch, model_dir, phantoms, scans, tmp_path):
    test, train = phantoms["test"], phantoms["train"]["report"]
    options = {"batch_size": 2, "max_new_tokens": 4, "metrics": {"BLEU-1": METRICS["BLEU-1"]}}
    bad_id, told = test["scan_id"][1], []
    image_of = generation.generate_reports.__kwdefaults__["image_of"]

    def fail_on_one(example):
        if example["scan_id"] == bad_id:
            raise MemoryError
        return image_of(example)

    with monkeypatch.context() as patch:
        patch.setitem(generation.generate_reports.__kwdefaults__, "image_of", fail_on_one)
        results = evaluate_model(model_dir, test, train, tmp_path / "out", say=told.append, **options)
    assert results.unreadable == (bad_id,) and results.n_test == 3
    assert told == [f"{bad_id}: could not be reported on: it needs more memory than there is"]
    whole = evaluate_model(model_dir, test, train, tmp_path / "whole", **options)
    for name in ("predictions.jsonl", "reports.jsonl"):
        with (tmp_path / "whole" / name).open() as lines:
            others = [line for line in map(json.loads, lines) if line["scan_id"] != bad_id]
        kept = [json.loads(line) for line in (tmp_path / "out" / name).read_text().splitlines()]
        assert [line["scan_id"] for line in kept] == [line["scan_id"] for line in others]
    again = evaluate_model(model_dir, test, train, tmp_path / "out", **options)
    assert again == whole and not again.unreadable


def test_an_evaluation_without_two_scans_is_refused(monkeypatch, model_dir, phantoms, tmp_path):
    def fail(example):
        raise MemoryError

    monkeypatch.setitem(generation.generate_reports.__kwdefaults__, "image_of", fail)
    with pytest.raises(ValueError, match="of 4 scans 0 could be read"):
        evaluate_model(model_dir, phantoms["test"], ["r"], tmp_path, max_new_tokens=2, say=lambda line: None)
    assert not (tmp_path / "results.json").exists()


def test_two_evaluations_do_not_share_a_folder(model_dir, phantoms, tmp_path):
    from argus_processing.storage.claimed_folders import claimed_folder

    with claimed_folder(tmp_path), pytest.raises(ValueError, match=f"process {os.getpid()} on .* is writing into it"):
        evaluate_model(model_dir, phantoms["test"], ["r"], tmp_path)
