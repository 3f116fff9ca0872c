"""Write what servers bore, and how fast they were, as Markdown tables."""

from typing import Any

from argus_processing.storage.markdown_table import literal_table, markdown_table

# key in the results of `make bench-vllm` -> engine, and what the requests hold
ENGINES = {
    "transformers": ("transformers", "scans"),
    "vllm": ("vLLM", "scans"),
    "vllm, embeddings": ("vLLM", "embeddings"),
}


def load_table(results: dict[str, Any]) -> str:
    """Return what a server bore as a Markdown table."""
    speed, flood, long, killed = (results[name] for name in ("throughput", "at_once", "long_run", "killed"))
    memory, count = long["resident_mb"], speed["requests"]
    rows = [
        (f"{count} requests one after another", f"{speed['one_after_another_seconds']:.1f} s"),
        (f"{count} requests together", f"{speed['together_seconds']:.1f} s, {speed['times_faster']:.1f} times as fast"),
        ("of these reports, equal", str(speed["equal_reports"])),
        ("first words, alone", f"{speed['first_words_alone_seconds']:.2f} s"),
        (f"first words, {count} together, median", f"{speed['first_words_together_seconds']:.2f} s"),
        (f"{flood['requests']} requests at once", _answers(flood["answers"])),
        (f"{long['requests']} requests, 8 at a time", _answers(long["answers"])),
        ("memory after each 50 of them", f"{min(memory):.0f} to {max(memory):.0f} MB"),
        ("killed while it writes and started again", f"{killed['left_files']} temporary files left"),
    ]
    told = f"{results['cores']} cores, shared with the client; load {results['load_before']:.0f} before the start."
    return f"{markdown_table(literal_table(('argus serve, ' + results['model'], 'measured'), rows))}\n\n{told}"


def engines_table(results: dict[str, Any]) -> str:
    """Return the speed of both engines as a Markdown table, and below it what vLLM bore."""
    heads = ("engine", "sent", "tokens a report", "one after another", "together", "times as fast")
    heads += ("first words, alone and together", "equal reports", "load")
    rows = [[*told, *_speed(results[name])] for name, told in ENGINES.items() if name in results]
    bore = f"\n\n{_bore(results['endurance'])}" if "endurance" in results else ""
    return markdown_table(literal_table(heads, rows)) + bore


def _speed(each: dict[str, Any]) -> list[str]:
    first = [f"{each[f'first_words_{how}_seconds']:.2f} s" for how in ("alone", "together")]
    return [
        f"{each['tokens']:.0f}",
        f"{each['one_after_another_seconds']:.1f} s",
        f"{each['together_seconds']:.1f} s",
        f"{each['times_faster']:.1f}",
        ", ".join(first),
        f"{each['equal_reports']} of {each['requests']}",
        f"{each['load_before']:.0f}",
    ]


def _bore(endurance: dict[str, Any]) -> str:
    long, flood, killed = (endurance[name] for name in ("long_run", "at_once", "killed"))
    memory = long["memory_mb"]
    return (
        f"vLLM: of {long['requests']} requests {_answers(long['answers'])}; all processes together took "
        f"{min(memory):,.0f} to {max(memory):,.0f} MB after each 50 of them. Of {flood['requests']} at once "
        f"{_answers(flood['answers'])}. Killed while it wrote, it left {killed['left_processes']} processes and "
        f"{killed['left_files']} files, and answered {killed['seconds_to_that_answer']:.0f} s after the next start."
    )


def _answers(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} answered {status}" for status, count in sorted(counts.items()))
