"""Run the commands that make or plan models: `argus create`, `convert`, `card`, `plan`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from .options import TrustOption, quiet, say, tell

app = typer.Typer()
SavedDtype = Literal["bfloat16", "float32"]
TowerName = Literal["argus", "m3d", "radfm", "ct2rep"]
PreprocessingName = Literal["own", "paper", "body"]
CompressorName = Literal["pixel_shuffle", "average_pooling", "perceiver", "none"]
Stage = Literal["1", "2"]
GgufType = Literal["f32", "f16", "bf16", "q8_0", "q4_0", "q4_k_m"]
ImageSizeOption = Annotated[
    tuple[int, int, int] | None,
    typer.Option(help="Voxels of the grid: depth, height and width. Default: those of the preset."),
]


@app.command(rich_help_panel="Make and plan models")
def create(
    preset: Annotated[str, typer.Argument(help="Preset, such as argus-8b-hr or argus-tiny.")],
    out: Annotated[Path, typer.Argument(help="Folder to write.")],
    llm: Annotated[str, typer.Option(help="Folder or Hub id of an instruct language model.")],
    vision: Annotated[
        Path | None,
        typer.Option(help="Folder of a pretrained vision tower, from training/pretrain.py or argus convert."),
    ] = None,
    random_vision: Annotated[
        bool, typer.Option("--random-vision", help="Start from a vision tower that nothing has pretrained.")
    ] = False,
    dtype: Annotated[SavedDtype, typer.Option(help="Data type of all weights.")] = "bfloat16",
    seed: Annotated[int, typer.Option(min=0, help="Seed of the new weights.")] = 0,
    tower: Annotated[TowerName, typer.Option(help="Kind of vision tower.")] = "argus",
    compressor: Annotated[
        CompressorName | None, typer.Option(help="Kind of compressor. Default: the vision tower's own.")
    ] = None,
    projector_layers: Annotated[
        int | None,
        typer.Option(min=1, max=2, help="Number of linear layers in the projector. Default: the vision tower's own."),
    ] = None,
    num_latents: Annotated[int | None, typer.Option(min=1, help="Number of the perceiver's visual tokens.")] = None,
    preprocessing: Annotated[
        PreprocessingName,
        typer.Option(help="Of the tower's own system or the Argus paper; body: the paper's after a crop to it."),
    ] = "own",
    image_size: ImageSizeOption = None,
    trust_remote_code: TrustOption = False,
) -> None:
    """Assemble a model folder from a preset, a language model and a vision tower.

    A tower with random weights must be asked for: the paper's is pretrained with 3D-MAE and FLIP.
    """
    if vision is None and not random_vision:
        raise ValueError(
            "argus create needs --vision, a tower that training/pretrain.py or argus convert wrote; "
            "--random-vision starts from random weights"
        )
    if vision is not None and random_vision:
        raise ValueError("give either --vision or --random-vision")
    quiet()
    from argus_training.assembly.create import create_model

    create_model(
        preset,
        out,
        llm=llm,
        vision=vision,
        seed=seed,
        dtype=dtype,
        tower=tower,
        compressor=compressor,
        num_projector_layers=projector_layers,
        num_latents=num_latents,
        preprocessing=preprocessing,
        image_size=image_size,
        trust_remote_code=trust_remote_code,
    )
    if random_vision:
        say(f"{out}: its vision tower has random weights, nothing pretrained it; the model's card says so")


@app.command(rich_help_panel="Make and plan models")
def convert(
    system: Annotated[str, typer.Argument(help="System of the weights: m3d or radfm.")],
    checkpoint: Annotated[Path, typer.Argument(help="Published .safetensors or .bin file, or their folder.")],
    out: Annotated[Path, typer.Argument(help="Folder to write, for argus create --vision.")],
    preset: Annotated[str, typer.Option(help="Any preset with the wanted resolution.")] = "argus-8b-nr",
    image_size: ImageSizeOption = None,
) -> None:
    """Make a vision tower from a baseline's published weights."""
    quiet()
    from argus_training.assembly.convert_weights import convert_weights

    tell(str(convert_weights(system, checkpoint, out, preset, image_size)))


@app.command(rich_help_panel="Make and plan models")
def export_gguf(
    model: Annotated[Path, typer.Argument(help="Folder of a saved model whose language model is a Llama.")],
    out: Annotated[Path, typer.Argument(help="File to write, such as argus-8b-hr.gguf.")],
    file_type: Annotated[
        GgufType, typer.Option("--type", help="Type of the weights; those of 8 and 4 bits are quantized by llama.cpp.")
    ] = "q4_k_m",
) -> None:
    """Write a model's language model as a GGUF file, for `argus report --llm` and llama.cpp.

    Vision tower and connector stay in the folder, which is needed beside the file.
    """
    quiet()
    from argus_inference.llama_cpp.export_gguf import export_gguf as export

    if not export(model, out, file_type):
        say(f"{out}: holds no vocabulary, as llama.cpp has none like this model's; Argus does not need it there")


@app.command(rich_help_panel="Make and plan models")
def card(
    model: Annotated[str, typer.Argument(help="Folder of a model, or a preset that is not trained yet: argus-8b-hr.")],
    results: Annotated[
        list[Path] | None, typer.Option(help="results.json of argus evaluate with this model; repeatable.")
    ] = None,
    audit: Annotated[
        list[Path] | None, typer.Option(help="results.json of argus audit with this model; repeatable.")
    ] = None,
    evidence: Annotated[
        list[Path] | None, typer.Option(help="results.json of maps of evidence of this model; repeatable.")
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Name in the examples, such as the model's id on the Hub. Default: its preset.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="File to write, such as MODEL/README.md. Default: print it.")] = None,
) -> None:
    """Write a model's card: what it is, what it was trained on, how well it does, how to run it and its limits.

    Everything comes from the model's folder and from result files, nothing is written by hand.
    """
    quiet()
    from argus_processing.storage.whole_files import check_can_write, write_text
    from argus_training.assembly.model_card import model_subject, preset_subject, render_card
    from modeling_argus.presets_argus import PRESETS

    if out is not None:
        check_can_write(out)
    if model in PRESETS and not Path(model).is_dir():
        if results or audit or evidence:
            raise ValueError(f"{model}: is a preset, which has no results; give the folder of a model")
        text = render_card(preset_subject(model), name=name)
    else:
        from argus_evaluation.audit.audit_table import read_card_audit
        from argus_evaluation.benchmark.card_results import read_card_results
        from argus_evaluation.evidence.card_evidence import read_card_evidence
        from argus_inference.model_folder import check_model_folder, hash_model

        folder = check_model_folder(Path(model))
        model_hash = hash_model(folder) if results or audit or evidence else ""
        measured = [read_card_results(path, model_hash) for path in results or ()]
        checks = [read_card_audit(path, model_hash) for path in audit or ()]
        checks += [read_card_evidence(path, model_hash) for path in evidence or ()]
        text = render_card(model_subject(folder), measured, name, checks)
    if out is None:
        tell(text.rstrip("\n"))
    else:
        write_text(out, text)


@app.command(rich_help_panel="Make and plan models")
def plan(
    preset: Annotated[str, typer.Option(help="Preset, such as argus-8b-hr.")],
    gpus: Annotated[int, typer.Option(min=1, help="Number of GPUs.")] = 8,
    memory: Annotated[float, typer.Option(min=1, help="Memory of each GPU in gigabytes.")] = 80,
    micro_batch: Annotated[int, typer.Option(min=1, help="Scans per GPU in one forward pass.")] = 1,
    batch: Annotated[int, typer.Option(min=1, help="Scans per optimizer step, over all GPUs.")] = 16,
    stage: Annotated[Stage, typer.Option(help="Training stage.")] = "2",
) -> None:
    """Compute the memory and operations that training a preset takes under each strategy; exit code 2 if none fits."""
    from argus_inference.console.terminal import show
    from argus_training.planning.plan import best_run, describe, make_plan, plan_table

    quiet()
    planned = make_plan(preset, gpus, memory, micro_batch, batch, stage)
    tell(describe(planned))
    show(plan_table(planned))
    best = best_run(planned)
    if best is None:
        raise ValueError(f"{preset}: no strategy fits {gpus} GPUs of {memory:g} GB; add GPUs")
    tell(best.command)
