"""Measure `argus serve` under load: many requests together against one after another, at once, for long, and killed.

make load      (writes runs/bench/serve_load.json)

A separate process serves the model on 127.0.0.1 with one thread for PyTorch, and this one asks, on the same cores. The
scans are phantoms. Both ways of asking take turns, and the ratio is that of the medians.
"""

import json
import os
import signal
import statistics
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx
from bench_timing import timed

from argus_processing.storage.part_files import is_part
from argus_processing.storage.whole_files import check_can_fill, write_json

from .served_process import LONGEST_WAIT_S, Served, build_scans, served

TOGETHER, ROUNDS, AT_ONCE, LONG = 16, 5, 200, 300


@dataclass(frozen=True)
class Asked:
    """One request: the status of its answer, the report, and the seconds to its first words and to its end."""

    status: int
    text: str
    first_seconds: float
    seconds: float


def ask(server: Served, scan: str) -> Asked:
    """Ask for a streamed report."""
    started, first, parts = time.perf_counter(), float("nan"), []
    body = server.request(scan, stream=True)
    with httpx.stream("POST", server.address, json=body, timeout=LONGEST_WAIT_S) as answer:
        for line in answer.iter_lines():
            if line.startswith("data: {") and (words := _words_of(json.loads(line[6:]))):
                first = first if parts else time.perf_counter() - started
                parts.append(words)
    return Asked(answer.status_code, "".join(parts), first, time.perf_counter() - started)


def _words_of(event: dict[str, Any]) -> str:
    return event["choices"][0]["delta"].get("content") or ""


def ask_all(server: Served, scans: Sequence[str], together: int) -> list[Asked]:
    """Ask for the reports of scans, so many at a time."""
    with ThreadPoolExecutor(together) as pool:
        return list(pool.map(lambda scan: ask(server, scan), scans))


def throughput(server: Served, scans: Sequence[str]) -> dict[str, Any]:
    """Time the reports of some scans one after another and together, in turns."""
    spent: dict[int, list[float]] = {1: [], len(scans): []}
    answers: dict[int, list[Asked]] = {}
    for _ in range(ROUNDS):
        for together, seconds in spent.items():
            took, answers[together] = timed(lambda together=together: ask_all(server, scans, together))
            seconds.append(took)
    alone, beside = (answers[together] for together in spent)
    one, many = (statistics.median(seconds) for seconds in spent.values())
    return {
        "requests": len(scans),
        "one_after_another_seconds": one,
        "together_seconds": many,
        "times_faster": one / many,
        "rounds": spent,
        "equal_reports": sum(own.text == other.text for own, other in zip(alone, beside, strict=True)),
        "letters": statistics.mean(len(answer.text) for answer in alone),
        "first_words_alone_seconds": statistics.median(answer.first_seconds for answer in alone),
        "first_words_together_seconds": statistics.median(answer.first_seconds for answer in beside),
        "last_first_words_together_seconds": max(answer.first_seconds for answer in beside),
    }


def at_once(server: Served, scans: Sequence[str]) -> dict[str, Any]:
    """Ask for more reports at once than the server takes: each is written or refused."""
    seconds, answers = timed(lambda: ask_all(server, [scans[n % len(scans)] for n in range(AT_ONCE)], AT_ONCE))
    counts = Counter(str(answer.status) for answer in answers)
    whole = sum(answer.status == 200 and bool(answer.text) for answer in answers)
    return {"requests": AT_ONCE, "answers": dict(counts), "whole_reports": whole, "seconds": seconds}


def long_run(server: Served, scans: Sequence[str]) -> dict[str, Any]:
    """Ask for hundreds of reports, eight at a time; tell the server's memory after every fifty."""
    memory, answers = [], Counter[str]()
    for _ in range(LONG // 50):
        asked = ask_all(server, [scans[n % len(scans)] for n in range(50)], 8)
        answers.update(str(answer.status) for answer in asked)
        memory.append(server.resident_mb())
    return {"requests": LONG, "answers": dict(answers), "resident_mb": memory}


def killed(start: Callable[[], Any], scans: Sequence[str], temporary: Path) -> dict[str, Any]:
    """Kill a server while it writes, start another, and count the temporary files that are left."""
    with start() as server:
        asking = threading.Thread(target=_ask_a_dying_server, args=(server, scans))
        asking.start()
        time.sleep(0.3)
        server.process.send_signal(signal.SIGKILL)
        server.process.wait()
        asking.join()
    started = time.perf_counter()
    with start() as server:
        answer = ask(server, scans[0])
        seconds = time.perf_counter() - started
        left = [path.name for path in temporary.iterdir() if is_part(path.name)]
    return {"status_after_restart": answer.status, "seconds_to_that_answer": seconds, "left_files": len(left)}


def _ask_a_dying_server(server: Served, scans: Sequence[str]) -> None:
    with suppress(httpx.HTTPError):
        ask_all(server, scans, len(scans))


def run_load(model: Path, out: Path, engine: str = "transformers") -> dict[str, Any]:
    """Run all tests, write `serve_load.json` into `out`, and return what it holds."""
    check_can_fill(out)
    names = [f"scan{number}.nii.gz" for number in range(TOGETHER)]
    file = out / ("serve_load.json" if engine == "transformers" else f"serve_load_{engine}.json")
    results: dict[str, Any] = {
        "engine": engine,
        "model": model.name,
        "cores": os.cpu_count(),
        "load_before": os.getloadavg()[0],
    }
    with tempfile.TemporaryDirectory() as folder:
        scans, temporary = Path(folder) / "scans", Path(folder) / "temporary"
        scans.mkdir()
        temporary.mkdir()
        build_scans(scans, names)
        start = partial(served, model, scans, "--engine", engine, temporary=temporary)
        tests: dict[str, Callable[[Served], dict[str, Any]]] = {
            "throughput": lambda server: throughput(server, names),
            "at_once": lambda server: at_once(server, names),
            "long_run": lambda server: long_run(server, names),
        }
        for name, test in tests.items():
            with start() as server:
                results[name] = test(server)
            print(name, json.dumps(results[name]), flush=True)
        results["killed"] = killed(start, names, temporary)
        print("killed", json.dumps(results["killed"]), flush=True)
    write_json(file, results)
    return results
