"""The one progress bar of the commands: on stderr, so that stdout holds only results."""

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


def progress_bar() -> Progress:
    """Return a rich progress bar on stderr with a count and the time that remains; none where stderr is no terminal."""
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
        # rich would send what is printed to stdout to the bar's console: to stderr.
        redirect_stdout=False,
    )
