from types import SimpleNamespace

import bench_timing
import pytest
import torch
from bench_timing import seconds_of, timed


@pytest.fixture
def events(monkeypatch):
    """A clock that ticks a second a look, and a GPU; gives what was done, in order."""
    done = []

    def look() -> float:
        done.append("look")
        return float(done.count("look"))

    monkeypatch.setattr(bench_timing, "time", SimpleNamespace(perf_counter=look))
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: done.append("wait"))
    return done


def test_a_call_is_made_once_between_two_looks_at_the_clock(events):
    assert timed(lambda: events.append("call") or "made") == (1.0, "made")
    assert events == ["look", "call", "look"]


def test_a_gpu_is_waited_for_before_each_look(events):
    assert seconds_of(lambda: events.append("call"), "cuda:0") == 1.0
    assert events == ["wait", "look", "call", "wait", "look"]


def test_a_call_that_fails_fails(events):
    with pytest.raises(ZeroDivisionError):
        timed(lambda: 1 // 0)
