"""Hostile folders on a terminal, where transformers would ask whether to run their code, and somebody says yes."""

import json
import os
import pty
import re
import select
import sys
import textwrap

import hostile_folders as hostile
import pytest
from hostile_folders import own_code

CODE = hostile.ANY_MODEL["code"]
PROCESSOR = own_code(
    ("processor_config.json", ("processor_class",), "Evil"),
    classes={"AutoProcessor": "evil.Processor"},
    file="processor_config.json",
)
TOKENIZER = own_code(
    ("tokenizer_config.json", ("tokenizer_class",), "Evil"),
    classes={"AutoTokenizer": [None, "evil.Tokenizer"]},
    file="tokenizer_config.json",
)
# One process for them all: to start is what takes long.
PROGRAM = textwrap.dedent(
    """
    import json, sys
    from argus_cli import main as cli
    from argus_training import sft
    for name, arguments in json.loads(sys.argv[1]):
        print(f"<<{name}>>", flush=True)
        sys.argv = list(map(str, arguments))
        try:
            (sft if arguments[0] == "sft.py" else cli).main()
        except SystemExit as stop:
            print(f"<<code {stop.code}>>", flush=True)
    """
)


def on_a_terminal(commands: list[tuple[str, list[str]]]) -> str:
    """Run commands with a terminal on every side, answer y to all that is asked, and return what they said."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ["COLUMNS"] = "1000"
        os.execv(sys.executable, [sys.executable, "-c", PROGRAM, json.dumps(commands)])
    said, answered = b"", 0
    while select.select([terminal], [], [], 120)[0]:
        try:
            part = os.read(terminal, 1 << 16)
        except OSError:  # the other side has ended
            break
        if not part:
            break
        said += part
        if said.count(b"[y/N]") > answered:
            answered += 1
            os.write(terminal, b"y\n")
    os.close(terminal)
    os.waitpid(pid, 0)
    return said.decode(errors="replace")


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals")
def test_no_command_asks_and_none_runs_the_folders_code(model_dir, scans, tmp_path):
    llm, out = model_dir.parent / "llm", tmp_path / "out"
    folders = {}
    for name, source, spoil in (
        ("model", model_dir, CODE),
        ("processor", model_dir, PROCESSOR),
        ("tokenizer", model_dir, TOKENIZER),
        ("llm", llm, CODE),
        ("llm_tokenizer", llm, TOKENIZER),
    ):
        folders[name] = hostile.copy_folder(source, tmp_path / name)
        spoil(folders[name])
    create = ["argus", "create", "argus-tiny", out, "--dtype", "float32", "--llm"]
    phantoms = ["--num-phantoms", 1, 1, 2]
    commands = {
        "report model": ["argus", "report", scans[0], "--model", folders["model"]],
        "report processor": ["argus", "report", scans[0], "--model", folders["processor"]],
        "report tokenizer": ["argus", "report", scans[0], "--model", folders["tokenizer"]],
        "serve": ["argus", "serve", "--model", folders["model"], "--port", 0],
        "evaluate": ["argus", "evaluate", out, "--model", folders["processor"], *phantoms],
        "cache": ["argus", "cache", tmp_path, tmp_path / "cache", "--model", folders["processor"]],
        "create llm": [*create, folders["llm"], "--random-vision"],
        "create tokenizer": [*create, folders["llm_tokenizer"], "--random-vision"],
        "create vision": [*create, llm, "--vision", folders["model"]],
    }
    said = on_a_terminal([(name, list(map(str, arguments))) for name, arguments in commands.items()])
    assert "y/N" not in said
    told = re.findall(r"<<([a-z ]+)>>(.*?)<<code (\d+)>>", said, re.DOTALL)
    assert [name for name, *_ in told] == list(commands), said
    for name, text, code in told:
        lines = [line for line in text.splitlines() if line.strip() and "not a medical device" not in line]
        assert code == "2" and len(lines) == 1 and str(tmp_path) in lines[0], (name, text)
        assert "--trust-remote-code" in lines[0], (name, text)
    assert not (tmp_path / hostile.MARK).exists() and not out.exists()
