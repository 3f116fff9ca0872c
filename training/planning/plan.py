"""Plan the training of a preset: parameters, tokens, operations and memory under each strategy, and the command."""

from dataclasses import dataclass

from rich.box import SIMPLE
from rich.table import Table

from argus_training.stages.recipe import TRAINABLE_PARTS, RecipeArguments
from modeling_argus import preset_config

from .flops import NUM_PROMPT_TOKENS, linear_flops, study_cost, train_step_flops
from .training_memory import ModelSizes, StepShape, activation_bytes, model_sizes
from .training_strategies import STRATEGIES, States, Strategy, states

# Average tokens of a report (the tests use the same number); the longest that the recipe allows is 1,024.
NUM_REPORT_TOKENS = 130
# Part of a GPU's memory that is not usable: the CUDA context and fragments in the allocator.
USABLE_SHARE = 0.92
GIGABYTE = 10**9


@dataclass(frozen=True)
class PlannedRun:
    """One strategy of a plan.

    Attributes:
        strategy: how the run is distributed over GPUs.
        held: bytes on one GPU before activations.
        activations: bytes on one GPU.
        step_flops: operations of one step of the global batch, on all GPUs together.
        fits: whether a GPU's memory is large enough for both.
        command: command line that starts the run.
    """

    strategy: Strategy
    held: States
    activations: int
    step_flops: int
    fits: bool
    command: str

    @property
    def total(self) -> int:
        """Return all bytes on one GPU."""
        return self.held.total + self.activations


@dataclass(frozen=True)
class Plan:
    """Cost of training a preset on a number of GPUs; `num_tokens` are the tokens of a scan of average length."""

    preset: str
    sizes: ModelSizes
    visual_tokens: int
    num_tokens: int
    global_batch_size: int
    micro_batch: int
    runs: list[PlannedRun]


def make_plan(
    preset: str, num_gpus: int, memory_gb: float, micro_batch: int = 1, global_batch_size: int = 16, stage: str = "2"
) -> Plan:
    """Compute the cost of a stage of the paper's recipe under every strategy, with checkpointing and accumulation.

    Memory is counted for the longest scan the recipe allows, operations for one of average length.

    Raises:
        ValueError: if the preset is unknown, or the GPUs do not share the batch evenly.
    """
    recipe = RecipeArguments(model_name_or_path=preset)
    if stage not in ("1", "2"):
        raise ValueError(f"stage is 1 or 2, got {stage!r}")
    if global_batch_size % (micro_batch * num_gpus):
        raise ValueError(
            f"a step of {global_batch_size} scans is no multiple of {micro_batch} on {num_gpus} GPUs; choose another "
            "number of GPUs, --micro-batch or --batch"
        )
    config = preset_config(preset)
    sizes = model_sizes(preset)
    trained = frozenset(recipe.settings_of(stage)["trainable_parts"])
    visual_tokens = study_cost(config).visual_tokens
    longest = StepShape(micro_batch, visual_tokens + recipe.max_text_tokens, recipe.max_text_tokens - NUM_PROMPT_TOKENS)
    text_tokens = NUM_PROMPT_TOKENS + NUM_REPORT_TOKENS
    scan_flops = {
        adapts: train_step_flops(config, text_tokens, NUM_REPORT_TOKENS, trained, adapts) for adapts in (False, True)
    }
    runs = []
    for strategy in STRATEGIES:
        if strategy.with_adapters and "llm" not in trained:
            continue
        held = states(strategy, sizes, trained, recipe.lora_r, num_gpus)
        head_trains = "llm" in trained and not strategy.with_adapters
        activations = activation_bytes(config, sizes, longest, trained, checkpointing=True, head_trains=head_trains)
        flops = scan_flops[strategy.with_adapters] + adapter_flops(sizes, recipe.lora_r, strategy, visual_tokens)
        fits = held.total + activations <= USABLE_SHARE * memory_gb * GIGABYTE
        command = launch_command(preset, strategy, num_gpus, micro_batch, global_batch_size, stage)
        runs.append(PlannedRun(strategy, held, activations, global_batch_size * flops, fits, command))
    num_tokens = visual_tokens + text_tokens
    return Plan(preset, sizes, visual_tokens, num_tokens, global_batch_size, micro_batch, runs)


def adapter_flops(sizes: ModelSizes, rank: int, strategy: Strategy, visual_tokens: int) -> int:
    """Return the operations of the adapters for one scan: three passes over all of their weights."""
    if not strategy.with_adapters:
        return 0
    num_tokens = visual_tokens + NUM_PROMPT_TOKENS + NUM_REPORT_TOKENS
    return 3 * linear_flops(num_tokens, rank, sizes.adapter_widths)


def launch_command(
    preset: str, strategy: Strategy, num_gpus: int, micro_batch: int, global_batch_size: int, stage: str
) -> str:
    """Return the command line of a run, with the options that differ from the recipe and the configuration."""
    words = ["accelerate launch", f"--config_file training/accelerate_configs/{strategy.config}.yaml"]
    words += [f"--num_processes {num_gpus}", "training/sft.py"]
    words += [f"--config training/recipes/{preset.replace('-', '_')}.yaml", f"--stage {stage}"]
    words += [f"--per_device_train_batch_size {micro_batch}", f"--global_batch_size {global_batch_size}"]
    words += [f"--use_peft {strategy.with_adapters}", f"--load_in_4bit {strategy.in_four_bits}"]
    return " ".join(words)


def best_run(plan: Plan) -> PlannedRun | None:
    """Return the first run that fits; the paper's own kind of training is tried first.

    Adapters are tried first for the 70B model and last for the others. Returns None if nothing fits.
    """
    adapters_first = "70b" in plan.preset
    fitting = [run for run in plan.runs if run.fits]
    # Offloading to the host's memory and 4 bits are slower: they are used only if nothing else fits.
    fitting.sort(
        key=lambda run: (
            run.strategy.with_adapters != adapters_first,
            run.held.host > 0 or run.strategy.in_four_bits,
            run.total,
        )
    )
    return fitting[0] if fitting else None


def plan_table(plan: Plan) -> Table:
    """Format a plan as a table, in gigabytes of 10^9 bytes on one GPU."""
    title = f"{plan.preset}, a step of {plan.global_batch_size} scans, {plan.micro_batch} a GPU at a time; GB a GPU"
    # Narrow, for a terminal of 80 columns; a strategy's name takes two lines before a number is cut.
    table = Table(title=title, box=SIMPLE, padding=0, show_edge=False)
    table.add_column("strategy")
    for name in ("weights", "grads", "optim", "work", "activ.", "total", "host", "PFLOP"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("fits")
    for run in plan.runs:
        held = run.held
        sizes = (held.weights, held.gradients, held.optimizer, held.working, run.activations, run.total, held.host)
        cells = [f"{size / GIGABYTE:.1f}" for size in sizes]
        table.add_row(run.strategy.name, *cells, f"{run.step_flops / 1e15:.2f}", "yes" if run.fits else "no")
    return table


def describe(plan: Plan) -> str:
    """Describe parameters and tokens in two lines."""
    sizes = plan.sizes
    parts = {"vision": sizes.vision, "connector": sizes.connector, "llm": sizes.llm}
    said = ", ".join(f"{part} {parts[part] / 1e9:.3f} B" for part in TRAINABLE_PARTS)
    return (
        f"parameters: {sizes.total / 1e9:.3f} B ({said})\n"
        f"tokens: {plan.visual_tokens} visual, {plan.num_tokens} with prompt and an average report"
    )
