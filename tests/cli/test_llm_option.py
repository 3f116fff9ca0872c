import pytest

from argus_inference.llama_cpp import llama_cpp_model


@pytest.mark.parametrize(
    ("command", "options", "said"),
    [
        ("report", ("--bits", "4"), "--bits"),
        ("report", ("--dtype", "bfloat16"), "--dtype"),
        ("report", ("--evidence", "evidence"), "needs gradients"),
        ("evaluate", ("--static-cache",), "--static-cache"),
        ("evaluate", ("--engine", "vllm"), "leave out --engine vllm"),
        ("evaluate", ("--evidence",), "needs gradients"),
    ],
)
def test_options_that_a_gguf_file_does_not_have_are_refused(argus, model_dir, scans, tmp_path, command, options, said):
    given = (scans[0],) if command == "report" else (tmp_path / "out",)
    options = [tmp_path / option if option == "evidence" else option for option in options]
    code, _, stderr = argus(command, *given, "--model", model_dir, "--llm", tmp_path / "llm.gguf", *options)
    assert code == 2 and "--llm" in stderr and said in stderr


@pytest.mark.parametrize("command", ["report", "evaluate"])
def test_without_llama_cpp_the_package_is_named(argus, model_dir, scans, tmp_path, monkeypatch, command):
    monkeypatch.setattr(llama_cpp_model, "find_spec", lambda name: None)
    (tmp_path / "llm.gguf").write_bytes(b"GGUF")
    given = scans[0] if command == "report" else tmp_path / "out"
    code, _, stderr = argus(command, given, "--model", model_dir, "--llm", tmp_path / "llm.gguf")
    assert code == 2 and "llama-cpp-python: pip install '.[llama-cpp]'" in stderr


def test_a_file_is_exported_by_the_command(argus, model_dir, tmp_path):
    gguf = pytest.importorskip("gguf", reason="extra gguf")
    code, stdout, stderr = argus("export-gguf", model_dir, tmp_path / "llm.gguf", "--type", "f16")
    assert (code, stdout, stderr) == (0, "", "")
    assert gguf.GGUFReader(tmp_path / "llm.gguf").fields["general.architecture"].contents() == "llama"


@pytest.mark.parametrize("command", [("serve", "--model"), ("evaluate", "out", "--model")])
def test_an_adapter_that_is_none_is_refused_before_vllm_starts(argus, model_dir, tmp_path, command):
    code, _, stderr = argus(*command, model_dir, "--engine", "vllm", "--adapter", tmp_path)
    assert code == 2 and f"{tmp_path}: not an adapter that peft saved" in stderr.splitlines()[-1]
