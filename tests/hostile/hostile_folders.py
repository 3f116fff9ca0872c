"""Makes copies of model folders and spoils them, as somebody would who wants to harm."""

import json
import os
import pickle
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

MARK = "marker"  # the file that code of a hostile folder would make, beside it


def copy_folder(source: Path, target: Path) -> Path:
    """Copy a model folder, its weights by a link."""
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("*.safetensors"))
    for weights in source.glob("*.safetensors"):
        os.symlink(weights, target / weights.name)
    return target


def edit(path: Path, *keys: str, to: Any) -> None:
    """Set one value of a JSON file."""
    content = json.loads(path.read_text())
    inner = content
    for key in keys[:-1]:
        inner = inner.setdefault(key, {})
    inner[keys[-1]] = to
    path.write_text(json.dumps(content))


def setting(file: str, *keys: str, to: Any) -> Callable[[Path], None]:
    return lambda folder: edit(folder / file, *keys, to=to)


def config(*keys: str, to: Any) -> Callable[[Path], None]:
    return setting("config.json", *keys, to=to)


def write_code(folder: Path) -> None:
    """Put a module into a folder whose import leaves the mark."""
    (folder / "evil.py").write_text(
        f"import pathlib\npathlib.Path({str(folder.parent / MARK)!r}).write_text('ran')\n"
        "from transformers import PreTrainedConfig, PreTrainedTokenizerFast, ProcessorMixin\n"
        "class Config(PreTrainedConfig):\n    model_type = 'evil'\n"
        "class Tokenizer(PreTrainedTokenizerFast):\n    pass\n"
        "class Processor(ProcessorMixin):\n    pass\n"
    )


def own_code(*files: tuple[str, tuple[str, ...], Any], classes: dict[str, Any], file: str, inside: tuple = ()):
    """Return what makes a file name classes of the folder's own module."""

    def spoil(folder: Path) -> None:
        write_code(folder)
        edit(folder / file, *inside, "auto_map", to=classes)
        for name, keys, value in files:
            edit(folder / name, *keys, to=value)

    return spoil


CONFIG_CODE = {"AutoConfig": "evil.Config", "AutoModel": "evil.Config", "AutoModelForCausalLM": "evil.Config"}
OTHER_CODE = {"AutoConfig": "user/repo--evil.Config", "AutoModelForImageTextToText": "user/repo--evil.Config"}


def custom_generate(folder: Path) -> None:
    (folder / "custom_generate").mkdir()
    write_code(folder)
    shutil.move(folder / "evil.py", folder / "custom_generate" / "generate.py")
    edit(folder / "generation_config.json", "custom_generate", to="user/repo")


class _Evil:
    def __init__(self, mark: Path):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


def pickled(folder: Path) -> None:
    """Put a pickle that runs a command in the weights' place."""
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(_Evil(folder.parent / MARK)))


def indexed(place: Callable[[Path, int], str]) -> Callable[[Path], None]:
    """Return what makes one shard of the weights, with an index that says where each tensor is."""

    def spoil(folder: Path) -> None:
        with safe_open(folder / "model.safetensors", "pt") as weights:
            names = list(weights.keys())
        (folder / "model.safetensors").rename(folder / "model-00001-of-00001.safetensors")
        content = {"metadata": {}, "weight_map": {name: place(folder, at) for at, name in enumerate(names)}}
        (folder / "model.safetensors.index.json").write_text(json.dumps(content))

    return spoil


def changed_weights(change: Callable[[dict[str, torch.Tensor]], Any]) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        weights = load_file(folder / "model.safetensors")
        change(weights)
        (folder / "model.safetensors").unlink()
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})

    return spoil


def raw_weights(content: bytes) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        (folder / "model.safetensors").unlink()
        (folder / "model.safetensors").write_bytes(content)

    return spoil


def pipe(name: str) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        (folder / name).unlink()
        os.mkfifo(folder / name)

    return spoil


def text(name: str, content: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_text(content) and None


_HUGE = json.dumps({"a": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]}}).encode()
WEIGHTS = {
    "pickle": pickled,
    "index up": indexed(lambda folder, at: "../other.safetensors"),
    "index absolute": indexed(lambda folder, at: str(folder / "model-00001-of-00001.safetensors")),
    "index without a shard": indexed(lambda folder, at: f"model-0000{1 + at % 2}-of-00001.safetensors"),
    "tensor missing": changed_weights(lambda weights: weights.pop(min(weights))),
    "tensor of another shape": changed_weights(lambda weights: weights.update({min(weights): torch.zeros(7)})),
    "header of 4 EiB": raw_weights(struct.pack("<Q", 1 << 62) + b"{}"),
    "tensor of 4 TiB": raw_weights(struct.pack("<Q", len(_HUGE)) + _HUGE + bytes(16)),
    "cut": raw_weights(b"\x00" * 7),
    "weights are a pipe": pipe("model.safetensors"),
    "configuration is a pipe": pipe("config.json"),
    "adapter": text("adapter_config.json", '{"peft_type": "LORA", "base_model_name_or_path": "/elsewhere"}'),
    "configuration of a gigabyte": lambda folder: os.truncate(folder / "config.json", 1 << 30),
    "deep configuration": text("config.json", '{"a":' + "[" * 50_000 + "]" * 50_000 + "}"),
    "list": text("config.json", "[1]"),
}
ANY_MODEL = {
    "code": own_code(("config.json", ("model_type",), "evil"), classes=CONFIG_CODE, file="config.json"),
    "code of another repository": own_code(
        ("config.json", ("model_type",), "evil"), classes=OTHER_CODE, file="config.json"
    ),
    "kernel": config("attn_implementation", to="user/kernel"),
    "kernel by its other name": config("_attn_implementation", to="user/kernel"),
    "kernels": config("use_kernels", to=True),
    "type of numbers": config("dtype", to="os.system"),
    "quantizer": config("quantization_config", to={"quant_method": "gptq", "bits": 4}),
    "weights elsewhere": config("transformers_weights", to="../other.safetensors"),
    "layers": config("num_hidden_layers", to=10**7),
    "layers below zero": config("num_hidden_layers", to=-1),
    "wide": config("intermediate_size", to=1 << 23),
    "half a head": config("num_attention_heads", to=2.5),
    "words": config("hidden_size", to="128"),
    "not a number": config("initializer_range", to=float("nan")),
    "no finite number": text("config.json", '{"model_type": "llama", "rms_norm_eps": 1e999}'),
    "function": config("hidden_act", to="os.system"),
}
