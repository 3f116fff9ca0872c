"""Show the progress of a training: a bar on a terminal, short lines through transformers' logger elsewhere.

Only the first process shows it. All values that the trainer logs stay in `trainer_state.json` and go to the trackers of
`report_to`.
"""

import logging
import os
import sys
import time
from typing import Any

import datasets
from transformers import PrinterCallback, ProgressCallback, Trainer, TrainerCallback, TrainingArguments
from transformers.utils import logging as transformers_logging

# Its lines go to the handlers of transformers, and are shown by default although transformers shows only warnings.
logger = transformers_logging.get_logger("transformers.argus")
if not os.environ.get("TRANSFORMERS_VERBOSITY"):
    logger.setLevel(logging.INFO)

# key in the trainer's log -> its name and format in a bar or a line
SHOWN = {
    "loss": ("loss", ".4g"),
    "train_loss": ("mean loss", ".4g"),
    "eval_loss": ("validation loss", ".4g"),
    "learning_rate": ("learning rate", ".1e"),
}


def shown_of(logs: dict[str, Any]) -> dict[str, str]:
    """Return the losses and the learning rate of a log's entry, formatted, by name."""
    return {name: f"{logs[key]:{form}}" for key, (name, form) in SHOWN.items() if key in logs}


class ProgressBar(ProgressCallback):
    """Callback that shows steps, losses and learning rate in a bar."""

    def __init__(self) -> None:
        super().__init__()
        self.shown: dict[str, str] = {}

    def on_log(self, args, state, control, logs=None, **kwargs):
        """Put the last losses and the learning rate beside the bar."""
        if self.training_bar is not None:
            self.shown |= shown_of(logs or {})
            self.training_bar.set_postfix(self.shown)


class ProgressLines(TrainerCallback):
    """Callback that logs step, losses, learning rate and seconds since the start, one line for each logged step."""

    def __init__(self) -> None:
        self.started = time.monotonic()

    def on_train_begin(self, args, state, control, **kwargs):
        """Start the clock."""
        self.started = time.monotonic()

    def on_log(self, args, state, control, logs=None, **kwargs):
        """Log one line."""
        shown = shown_of(logs or {})
        if state.is_world_process_zero and shown:
            # A trainer that only evaluates has no steps.
            step = f"step {state.global_step}/{state.max_steps}: " if state.max_steps else ""
            values = ", ".join(f"{name} {value}" for name, value in shown.items())
            logger.info(f"{step}{values}, {time.monotonic() - self.started:.0f} s")


def tell_progress(trainer: Trainer) -> None:
    """Give a trainer a bar on a terminal and lines elsewhere, in place of transformers' callbacks that print all."""
    for callback in (PrinterCallback, ProgressCallback):
        trainer.remove_callback(callback)
    trainer.add_callback(ProgressBar() if wants_bar(trainer.args) else ProgressLines())


def wants_bar(args: TrainingArguments) -> bool:
    """Return whether stderr is a terminal, unless the recipe sets `disable_tqdm`."""
    # transformers sets it by itself where its messages are turned off, as in `argus demo`.
    messages_are_off = transformers_logging.get_verbosity() > logging.WARNING
    return sys.stderr.isatty() and (messages_are_off or not args.disable_tqdm)


def keep_bars_on_terminals() -> None:
    """Turn the bars of transformers and datasets off if stderr is no terminal: in a file each step is a line."""
    if not sys.stderr.isatty():
        transformers_logging.disable_progress_bar()
        datasets.disable_progress_bars()
