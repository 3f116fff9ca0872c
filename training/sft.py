"""Train Argus on CT and reports in two supervised stages (paper, section 5.1).

accelerate launch training/sft.py --config training/recipes/argus_8b_hr.yaml
python training/sft.py --config training/recipes/argus_3b_nr.yaml --stage 2 --learning_rate 1e-6

The same command started again continues an interrupted run. On a terminal a bar shows how far it is; elsewhere each
logged step is a line. With `--push_to_hub true --hub_model_id lab/NAME` the last model is uploaded once, at the end.
"""

import argus_training.program_start  # noqa: F401 - before any library reads the number of threads

# isort: split

from pathlib import Path

import datasets
from datasets import load_dataset
from trl import SFTConfig

import argus_processing  # noqa: F401 - registers the processor and the data set
from argus_processing.publishing.hub_repository import check_can_upload
from argus_training.recipe_command import parse_recipe, recipe_parser, run_command
from argus_training.stages.checkpoints import claim_output, output_folder, own_output
from argus_training.stages.recipe import STAGES, RecipeArguments
from argus_training.stages.report_examples import draw_scans, draw_share, report_examples
from argus_training.stages.run_upload import HubArguments, upload_destination, upload_run, without_upload
from argus_training.stages.stage_training import train_stage
from argus_training.training_progress import logger
from argus_training.training_record import data_of


def train(recipe: RecipeArguments, config: SFTConfig, hub: HubArguments | None = None) -> Path:
    """Run the recipe's stages one after the other, and upload the last model if asked; return its folder.

    Raises:
        ValueError: if a setting is wrong, or the upload fails; the trained model stays in its folder.
    """
    hub = hub or HubArguments()
    to = upload_destination(config, hub)
    if to is None:
        return _train(recipe, config)
    config = without_upload(config)
    is_first = config.process_index == 0
    if is_first:
        check_can_upload(to)
    model_path = _train(recipe, config)
    if is_first:
        folders = {stage: output_folder(config) / f"stage{stage}" / "model" for stage in STAGES}
        earlier = {stage: path for stage, path in folders.items() if path != model_path and path.exists()}
        logger.info(f"uploaded to {upload_run(model_path, earlier if hub.hub_stages else {}, to)}")
    return model_path


def _train(recipe: RecipeArguments, config: SFTConfig) -> Path:
    output_dir = output_folder(config)
    with own_output(output_dir, config):
        claim_output(output_dir, recipe, config)
        splits = load_splits(recipe, config.seed)
        data = data_of(recipe.subset, recipe.subset_options, splits["train"])
        examples = datasets.DatasetDict({name: report_examples(split) for name, split in splits.items()})
        model_path = Path(recipe.model_name_or_path)
        if recipe.stage == "2" and (output_dir / "stage1" / "model").exists():
            model_path = output_dir / "stage1" / "model"
        for stage in recipe.stages_to_run():
            model_path = train_stage(stage, model_path, recipe, config, examples, data)
        return model_path


def load_splits(recipe: RecipeArguments, seed: int) -> datasets.DatasetDict:
    """Load the recipe's splits, with its share or count of the training scans."""
    splits = load_dataset("ct3drrg", recipe.subset, **recipe.subset_options)
    if recipe.train_count is not None:
        splits["train"] = draw_scans(splits["train"], recipe.train_count, seed)
    else:
        splits["train"] = draw_share(splits["train"], recipe.train_share, seed)
    return splits


def main() -> None:
    """Parse the recipe and the command line, train, and upload only if `push_to_hub` is set."""
    parser = recipe_parser(RecipeArguments, SFTConfig, HubArguments, description=__doc__)
    run_command("sft.py", lambda: train(*parse_recipe(parser)))


if __name__ == "__main__":
    main()
