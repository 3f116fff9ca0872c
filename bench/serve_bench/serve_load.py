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
import psutil
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
    tokens: int
    first_seconds: float
    seconds: float


def ask(server: Served, scan: str, **options: Any) -> Asked:
    """Ask for a streamed report of a file in the served folder, or of a `data:` address."""
    started, first, parts, tokens = time.perf_counter(), float("nan"), [], 0
    body = server.request(scan, stream=True, stream_options={"include_usage": True}, **options)
    with httpx.stream("POST", server.address, json=body, timeout=LONGEST_WAIT_S) as answer:
        for line in answer.iter_lines():
            event = json.loads(line[6:]) if line.startswith("data: {") else {}
            tokens = (event.get("usage") or {}).get("completion_tokens", tokens)
            if words := _words_of(event):
                first = first if parts else time.perf_counter() - started
                parts.append(words)
    return Asked(answer.status_code, "".join(parts), tokens, first, time.perf_counter() - started)


def _words_of(event: dict[str, Any]) -> str:
    return "".join(choice["delta"].get("content") or "" for choice in event.get("choices", ()))


def ask_all(server: Served, scans: Sequence[str], together: int, **options: Any) -> list[Asked]:
    """Ask for the reports of scans, so many at a time."""
    with ThreadPoolExecutor(together) as pool:
        return list(pool.map(lambda scan: ask(server, scan, **options), scans))


def throughput(server: Served, scans: Sequence[str], **options: Any) -> dict[str, Any]:
    """Time the reports of some scans one after another and together, in turns."""
    spent: dict[int, list[float]] = {1: [], len(scans): []}
    answers: dict[int, list[Asked]] = {}
    for _ in range(ROUNDS):
        for together, seconds in spent.items():
            took, answers[together] = timed(lambda together=together: ask_all(server, scans, together, **options))
            seconds.append(took)
    alone, beside = (answers[together] for together in spent)
    if refused := {answer.status for answer in (*alone, *beside)} - {200}:
        raise RuntimeError(f"reports were asked for, and the server answered {sorted(refused)}")
    one, many = (statistics.median(seconds) for seconds in spent.values())
    return {
        "requests": len(scans),
        "one_after_another_seconds": one,
        "together_seconds": many,
        "times_faster": one / many,
        "rounds": spent,
        "equal_reports": sum(own.text == other.text for own, other in zip(alone, beside, strict=True)),
        "letters": statistics.mean(len(answer.text) for answer in alone),
        "tokens": statistics.mean(answer.tokens for answer in alone),
        "first_words_alone_seconds": statistics.median(answer.first_seconds for answer in alone),
        "first_words_together_seconds": statistics.median(answer.first_seconds for answer in beside),
        "last_first_words_together_seconds": max(answer.first_seconds for answer in beside),
    }


def at_once(server: Served, scans: Sequence[str], **options: Any) -> dict[str, Any]:
    """Ask for more reports at once than the server takes: each is written or refused."""
    wanted = [scans[n % len(scans)] for n in range(AT_ONCE)]
    seconds, answers = timed(lambda: ask_all(server, wanted, AT_ONCE, **options))
    counts = Counter(str(answer.status) for answer in answers)
    whole = sum(answer.status == 200 and bool(answer.text) for answer in answers)
    return {"requests": AT_ONCE, "answers": dict(counts), "whole_reports": whole, "seconds": seconds}


def long_run(server: Served, scans: Sequence[str], together: int = 8, **options: Any) -> dict[str, Any]:
    """Ask for hundreds of reports, some at a time; tell the memory of the server, and of all it started, every 50."""
    own, whole, answers = [], [], Counter[str]()
    for _ in range(LONG // 50):
        asked = ask_all(server, [scans[n % len(scans)] for n in range(50)], together, **options)
        answers.update(str(answer.status) for answer in asked)
        own.append(server.resident_mb())
        whole.append(server.memory_mb())
    return {"requests": LONG, "answers": dict(answers), "resident_mb": own, "memory_mb": whole}


def killed(start: Callable[[], Any], scans: Sequence[str], temporary: Path, **options: Any) -> dict[str, Any]:
    """Kill a server while it writes, start another, and count the processes and temporary files that are left."""
    with start() as server:
        asking = threading.Thread(target=_ask_a_dying_server, args=(server, scans), kwargs=options)
        asking.start()
        time.sleep(0.3)
        family = server.family()
        server.process.send_signal(signal.SIGKILL)
        server.process.wait()
        asking.join()
        _, living = psutil.wait_procs(family, timeout=10)
    started = time.perf_counter()
    with start() as server:
        answer = ask(server, scans[0], **options)
        seconds = time.perf_counter() - started
        left = [path.name for path in temporary.iterdir() if is_part(path.name)]
    return {
        "status_after_restart": answer.status,
        "seconds_to_that_answer": seconds,
        "left_processes": len(living),
        "left_files": len(left),
    }


def _ask_a_dying_server(server: Served, scans: Sequence[str], **options: Any) -> None:
    with suppress(httpx.HTTPError):
        ask_all(server, scans, len(scans), **options)


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
