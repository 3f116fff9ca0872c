"""Run the commands that upload to the Hub: `argus publish model`, `argus publish data`."""

from pathlib import Path
from typing import Annotated

import typer

from .options import quiet, say, tell

app = typer.Typer(
    no_args_is_help=True, help="Upload a model or a data set to the Hub, after a search for what may not leave."
)
PublicOption = Annotated[bool, typer.Option("--public", help="Make a new repository public, or accept a public one.")]
RevisionOption = Annotated[str | None, typer.Option(help="Branch to upload to. Default: the main branch.")]
TagOption = Annotated[str | None, typer.Option(help="Name that the uploaded state gets, such as v1.0.")]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Only list the files and show the card; uses no network.")
]


@app.command()
def model(
    folder: Annotated[Path, typer.Argument(help="Folder of a trained model.")],
    repo_id: Annotated[str, typer.Argument(help="Repository on the Hub, such as lab/argus-8b-hr.")],
    public: PublicOption = False,
    revision: RevisionOption = None,
    tag: TagOption = None,
    picture: Annotated[
        list[str] | None,
        typer.Option(help="Picture in the folder that shows no patient, as you have seen; repeatable."),
    ] = None,
    dry_run: DryRunOption = False,
) -> None:
    """Upload a model folder in one commit: weights, code, tokenizer and card.

    Refused if anything is in the folder that must not be published: scans, header fields, local paths, tokens, pickles.
    An upload that was interrupted goes on when it is started again.
    """
    quiet()
    from argus_processing.publishing.hub_repository import Destination
    from argus_processing.publishing.publish_model import model_to_publish, publish_model

    if dry_run:
        checked = model_to_publish(folder, repo_id, picture or ())
        _show(checked.sizes, checked.card)
        return
    tell(publish_model(folder, Destination(repo_id, public, revision, tag), picture or ()))


@app.command()
def data(
    prepared: Annotated[Path, typer.Argument(help="Folder made by argus prepare.")],
    repo_id: Annotated[str, typer.Argument(help="Data set repository on the Hub, such as lab/ct-3drrg.")],
    with_data: Annotated[
        list[str] | None, typer.Option(help="Source whose rows are uploaded too, if allowed; repeatable.")
    ] = None,
    public: PublicOption = False,
    revision: RevisionOption = None,
    tag: TagOption = None,
    dry_run: DryRunOption = False,
) -> None:
    """Upload ids, splits and curation decisions; the data of CT-RATE and INSPECT may not be redistributed."""
    quiet()
    from argus_processing.publishing.hub_repository import Destination
    from argus_processing.publishing.publish_data import data_to_publish, publish_data

    sources = tuple(with_data or ())
    if dry_run:
        with data_to_publish(prepared, repo_id, sources) as checked:
            _show(checked.sizes, checked.card)
        return
    tell(publish_data(prepared, Destination(repo_id, public, revision, tag), sources))


def _show(sizes: dict[str, int], card: str) -> None:
    """Print the files that would be uploaded with their sizes, and the card."""
    width = max(map(len, sizes))
    for name, size in sizes.items():
        tell(f"{name:<{width}}  {size:>15,}")
    tell(f"{'':<{width}}  {sum(sizes.values()):>15,} bytes\n")
    tell(card)
    say("nothing was uploaded; without --dry-run this is")
