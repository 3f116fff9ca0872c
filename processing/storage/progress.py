"""Show the progress bar of everything that takes long, on stderr, so that stdout holds only results."""

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


def progress_bar(shown: bool = True) -> Progress:
    """Return a rich progress bar on stderr with count and remaining time; it shows nothing if stderr is no terminal."""
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not (shown and console.is_terminal),
        # Otherwise rich would send text printed to stdout to the bar's console, which is stderr.
        redirect_stdout=False,
    )
