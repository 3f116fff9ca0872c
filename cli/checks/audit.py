"""Run `argus audit`: a model's folder or an address, phantoms or real scans."""

from pathlib import Path
from typing import Annotated

import typer

from ..options import (
    NOTICE,
    DeviceMapOption,
    DtypeOption,
    TrustOption,
    quiet,
    say,
    tell,
)

app = typer.Typer()


@app.command(rich_help_panel="Evaluation")
def audit(
    model: Annotated[str, typer.Argument(metavar="MODEL-OR-ADDRESS", help="Folder of a model, or http(s) address.")],
    out: Annotated[Path, typer.Argument(help="Folder for results, page and figure; a second start continues there.")],
    phantoms: Annotated[int, typer.Option(min=1, max=1000, help="Number of phantoms.")] = 20,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the phantoms; one that nobody knew is the fairest.")] = 0,
    finding: Annotated[
        list[str] | None,
        typer.Option(help="Ask about this finding; repeatable, at least four. Default: those the model speaks of."),
    ] = None,
    spacing: Annotated[
        tuple[float, float, float] | None, typer.Option(help="Spacing of the phantoms in mm, (D, H, W).")
    ] = None,
    scans: Annotated[
        Path | None, typer.Option(help="Folder of real scans (NIfTI) to audit on instead of phantoms; needs --boxes.")
    ] = None,
    boxes: Annotated[
        Path | None, typer.Option(help="CSV of their findings: scan, finding, and a mask or i0,i1,j0,j1,k0,k1.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Model's name at the address. Default: the only one there.")] = None,
    api_key: Annotated[
        Path | None, typer.Option(help="File with the address's key. Default: OPENAI_API_KEY of the environment.")
    ] = None,
    requests: Annotated[int, typer.Option(min=1, help="Most requests to the address under way at a time.")] = 2,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds that one report at the address may take.")] = 600,
    batch_size: Annotated[int, typer.Option(min=1, help="Scans of a folder's model reported on together.")] = 16,
    max_new_tokens: Annotated[
        int | None, typer.Option(min=1, help="Longest report in tokens. Default: 1024, or what an address allows.")
    ] = None,
    dtype: DtypeOption = None,
    device_map: DeviceMapOption = None,
    trust_remote_code: TrustOption = False,
) -> None:
    """Audit whether a model reads the image: redraw phantoms with one thing changed, and see what its reports do.

    Nothing is contacted but the address that is given. Exit code 2 means that a scan got no report; the verdict then
    tells whether enough did.
    """
    if (scans is None) != (boxes is None):
        raise ValueError("--scans and --boxes go together: real scans, and what is where in them")
    if scans is not None and (finding or spacing):
        raise ValueError("--finding and --spacing belong to phantoms, not to --scans")
    from argus_evaluation.audit.audit import audit_model
    from argus_evaluation.audit.audit_table import build_table, verdict_sentence
    from argus_evaluation.audit.audited_models import AuditedModel, FolderModel
    from argus_evaluation.audit.model_address import AddressModel, is_address
    from argus_evaluation.audit.scan_audit import audit_scans
    from argus_inference.console.terminal import show
    from argus_inference.generation import MAX_NEW_TOKENS
    from argus_processing.storage.whole_files import check_can_fill

    say(NOTICE)
    quiet()
    check_can_fill(out)
    audited: AuditedModel
    if is_address(model):
        audited = AddressModel(
            model, name, key_file=api_key, requests=requests, max_new_tokens=max_new_tokens, timeout_s=timeout
        )
    else:
        from argus_inference.model_folder import Loading, check_model_folder

        folder = check_model_folder(Path(model), trust_remote_code)
        loading = Loading(dtype, trust=trust_remote_code, device_map=device_map)
        audited = FolderModel(folder, loading, batch_size, max_new_tokens or MAX_NEW_TOKENS)
    if scans is not None and boxes is not None:
        results = audit_scans(audited, scans, boxes, out, seed=seed, say=say)
    else:
        results = audit_model(
            audited, out, num_phantoms=phantoms, seed=seed, labels=finding, spacing_mm=spacing, say=say
        )
    show(build_table(results))
    tell(f"{verdict_sentence(results, 'this model')} {results.reason}")
    raise typer.Exit(2 if results.num_failed else 0)
