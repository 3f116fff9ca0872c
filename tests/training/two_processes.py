"""Runs of training/sft.py in several processes on one machine, joined by gloo through a file: no port is taken.

The processes are forked from a server that has imported everything once.
"""

import importlib
import json
import multiprocessing
import os
import signal
import sys
from pathlib import Path

import torch
from accelerate import DistributedType, PartialState
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils.launch import prepare_deepspeed_cmd_env, prepare_multi_gpu_env
from safetensors.torch import load_file, save_file
from transformers import AutoModelForImageTextToText, TrainerCallback
from trl import SFTConfig

from argus_processing.saved_models.provenance import read_provenance
from argus_training import sft
from argus_training.stages import stage_training
from argus_training.stages.recipe import RecipeArguments

CONFIGS = Path(__file__).parent.parent.parent / "training" / "accelerate_configs"
SUBSET = {"num_train": 4, "num_validation": 1, "num_test": 1, "spacing_mm": [20.0, 12.0, 12.0]}
ADAPTERS = {"use_peft": True, "lora_r": 4, "lora_alpha": 8, "lora_dropout": 0.0}
# Seconds after which a run counts as hung; one takes ten on two free cores.
TIMEOUT = 180
SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload([__name__, "peft", "datasets"])


class Killer(TrainerCallback):
    """Kills its process at the end of a step of stage 2."""

    def __init__(self, step: int):
        self.step = step

    def on_step_end(self, args, state, control, **kwargs):
        if "stage2" in args.output_dir and state.global_step == self.step:
            os.kill(os.getpid(), signal.SIGKILL)


def launch_environment(strategy: str, num_processes: int) -> dict[str, str]:
    """Return the environment that `accelerate launch --config_file` gives its processes, made by accelerate."""
    arguments = ["--config_file", str(CONFIGS / f"{strategy}.yaml"), "--mixed_precision", "no", "--num_machines", "1"]
    arguments += ["--num_processes", str(num_processes), "--main_process_port", "0"]
    if strategy.startswith("zero"):
        arguments += ["--deepspeed_config_file", str(CONFIGS / f"{strategy}.json")]
    args, _, _ = _validate_launch_command(launch_command_parser().parse_args([*arguments, "sft.py"]))
    if args.use_deepspeed:
        args.deepspeed_fields_from_accelerate_config = ""
        return prepare_deepspeed_cmd_env(args)[1]
    return prepare_multi_gpu_env(args)


def run_in_process(rank: int, world: int, strategy: str, meeting: str, kill_at: int | None, recipe: dict, config: dict):
    """Train; the last rank is killed at a step, if one is named. Losses and logits land in the output folder."""
    log = open(f"{meeting}.{rank}.log", "w")
    os.dup2(log.fileno(), 1)
    os.dup2(log.fileno(), 2)
    os.environ.update(launch_environment(strategy, world))
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(world), "LOCAL_WORLD_SIZE": str(world)}
    os.environ |= {"CUDA_VISIBLE_DEVICES": "", "MASTER_ADDR": "localhost", "MASTER_PORT": "0"}
    os.environ |= {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    torch.set_num_threads(1)
    if world > 1:
        torch.distributed.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=world)
    if strategy not in ("ddp", "cpu"):
        # Accelerate knows FSDP and DeepSpeed on accelerators alone: this one says that it is one, and is a CPU.
        os.environ["ACCELERATE_TORCH_DEVICE"] = "cpu"
        PartialState._prepare_backend = lambda *_: ("gloo", DistributedType.MULTI_GPU)
    if strategy.startswith("zero"):
        # Gloo instead of DeepSpeed's own exchange through shared memory, which would be compiled first, for a minute.
        # The module is not found as an attribute of its package: there the name stands for PyTorch.
        importlib.import_module("deepspeed.comm.torch").build_shm_op = lambda: None
    make_trainer, save_model = stage_training.make_trainer, stage_training.save_model

    def make_and_watch(*arguments):
        trainer = make_trainer(*arguments)
        if kill_at and rank == world - 1:
            trainer.add_callback(Killer(kill_at))
        return trainer

    def save_and_note(trainer, folder):
        logits = logits_of(trainer.model_wrapped, trainer.get_train_dataloader())
        if rank == 0:
            losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
            kinds = {type(parameter).__name__ for parameter in trainer.model.parameters()}
            said = {"losses": losses, "type": trainer.accelerator.distributed_type.value, "parameters": sorted(kinds)}
            folder.parent.joinpath("run.json").write_text(json.dumps(said))
            save_file({"logits": logits}, folder.parent / "logits.safetensors")
        save_model(trainer, folder)

    stage_training.make_trainer, stage_training.save_model = make_and_watch, save_and_note
    sft.train(RecipeArguments(**recipe), SFTConfig(**config))
    if world > 1:
        torch.distributed.destroy_process_group()


@torch.no_grad()
def logits_of(model, batches=None) -> torch.Tensor:
    """Logits of one fixed scan and text, `(1, 24, vocabulary)`."""
    generator = torch.Generator().manual_seed(3)
    volume = torch.rand(1, 1, 32, 64, 64, generator=generator)
    config = getattr(model, "module", model).config
    ids = torch.randint(10, 300, (1, 24), generator=generator)
    ids[:, 2:10] = config.image_token_id
    model.eval()
    logits = model(input_ids=ids, pixel_values=volume, attention_mask=torch.ones_like(ids)).logits
    return logits.float().contiguous()


def check_merged(folder: Path) -> None:
    """Check that adapters trained in shards are whole, and merged into a model that does what the trained one did."""
    model = AutoModelForImageTextToText.from_pretrained(folder / "model", dtype=torch.float32)
    assert all(parameter.numel() for parameter in model.parameters())
    expected = load_file(folder / "logits.safetensors")["logits"]
    torch.testing.assert_close(logits_of(model), expected, atol=1e-4, rtol=1e-4)
    adapter = load_file(folder / "adapter" / "adapter_model.safetensors")
    assert {name.split(".")[3] for name in adapter} == {"vision_tower", "connector", "language_model"}
    assert all(tensor.numel() for tensor in adapter.values())
    assert [stage.has_adapters for stage in read_provenance(folder / "model").stages] == [True]


def run(strategy: str, world: int, meeting: Path, recipe: dict, config: dict, kill_at: int | None = None) -> list[int]:
    """Run to the end, or to the end of those whose partner was killed; return exit codes.

    Raises:
        RuntimeError: with what was printed, if a process failed that should not have.
    """
    sys.stdout.flush()
    processes = [
        SERVER.Process(target=run_in_process, args=(rank, world, strategy, str(meeting), kill_at, recipe, config))
        for rank in range(world)
    ]
    for process in processes:
        process.start()
    processes[-1].join(TIMEOUT)
    for process in processes:
        if not kill_at:
            process.join(TIMEOUT)
        # Those left wait for a partner that is gone; a launcher would end them too.
        process.kill()
        process.join()
    codes = [process.exitcode for process in processes]
    if not kill_at and any(codes):
        printed = [Path(f"{meeting}.{rank}.log").read_text()[-3000:] for rank in range(world)]
        raise RuntimeError(f"exit codes {codes}\n" + "\n".join(printed))
    return codes
