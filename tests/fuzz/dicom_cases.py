"""Draw damaged DICOM series: elements changed, retyped, cut or lost, codestreams changed, files lost or added."""

import zlib

from byte_edits import Edit, apply_edits, byte_edits
from dicom_elements import ElementMap, inflated
from dicom_seeds import dicom_seeds
from hypothesis import strategies as st

TEXTS = (b"", b" ", b"0", b"-1", b"1", b"nan", b"inf", b"-inf", b"1e400", b"1e-9", b"3", b"65536", b"1\\2", b"1\\2\\3")
TEXTS += (b"SECRET^NAME", b"\xff\xfe", b"1,5", b"0x10", b"CT\\SECRET", b"1" * 40, b"0\\0\\0\\0\\0\\0", b"MONOCHROME1")
TEXTS += (b"RGB", b"YBR_FULL_422", b"PALETTE COLOR", b"1.2.840.10008.1.2", b"1.2.840.10008.1.2.5", b"MIP", b"MR")
WHOLE = (0, 1, 2, 3, 7, 8, 12, 15, 16, 17, 32, 255, 256, 1024, 32767, 32768, 65535)
VRS = (
    b"DS",
    b"IS",
    b"US",
    b"SS",
    b"UL",
    b"FD",
    b"FL",
    b"CS",
    b"UI",
    b"SQ",
    b"UN",
    b"OB",
    b"OW",
    b"LO",
    b"AT",
    b"ZZ",
    b"\0\0",
)


@st.composite
def dicom_case(draw: st.DrawFn) -> tuple[str, dict[str, bytes]]:
    """Draw a damaged series: its seed's name, and `{file name: content}`."""
    seed = dicom_seeds()[draw(st.integers(0, len(dicom_seeds()) - 1))]
    damage = st.one_of(
        _element_edit(seed.elements),
        _element_edit(seed.elements),
        _codestream_edit(seed.elements),
        _any_edit(seed.elements),
    )
    edits = draw(st.lists(damage, min_size=1, max_size=3))
    names = sorted(seed.files)
    # The same fault in every file is as common as one in a single file: exporters repeat themselves.
    hit = names if draw(st.booleans()) else [draw(st.sampled_from(names))]
    files = {
        name: _damaged(content, seed.elements, edits) if name in hit else content
        for name, content in seed.files.items()
    }
    return seed.name, draw(_folder_edit(files)) if draw(st.integers(0, 9)) == 0 else files


def _damaged(content: bytes, places: ElementMap, edits: list[Edit]) -> bytes:
    if not places.deflated:
        return apply_edits(content, edits)
    start = places.start
    plain = apply_edits(inflated(content, start), edits)
    packer = zlib.compressobj(1, wbits=-zlib.MAX_WBITS)
    return plain[:start] + packer.compress(plain[start:]) + packer.flush()


@st.composite
def _element_edit(draw: st.DrawFn, places: ElementMap) -> Edit:
    """Draw an element with another value, another length, another type, or without itself."""
    head, value, end = draw(st.sampled_from(places.spans))
    what = draw(st.sampled_from(("value", "value", "whole", "text", "length", "type", "lost")))
    size = end - value
    if what == "lost":
        return Edit("delete", head, bytes(end - head))
    if what == "type" and not places.implicit:
        return Edit("set", head + 4, draw(st.sampled_from(VRS)))
    if what == "length":
        at, width = (value - 4, 4) if places.implicit else (value - 2, 2)
        return Edit("set", at, draw(st.sampled_from(WHOLE)).to_bytes(width, "little"))
    if what == "whole" or size in (2, 4, 8):
        return Edit("set", value, draw(st.sampled_from(WHOLE)).to_bytes(max(size, 2), "little"))
    return Edit("set", value, draw(st.sampled_from(TEXTS)).ljust(size, b" ")[:size] or b" ")


@st.composite
def _codestream_edit(draw: st.DrawFn, places: ElementMap) -> Edit:
    edit = draw(byte_edits(160))
    return Edit(edit.kind, places.pixels + edit.place % (1 << 12), edit.value)


def _any_edit(places: ElementMap) -> st.SearchStrategy[Edit]:
    return byte_edits(places.pixels)


@st.composite
def _folder_edit(draw: st.DrawFn, files: dict[str, bytes]) -> dict[str, bytes]:
    """Lose, empty, double or add a file."""
    name = draw(st.sampled_from(sorted(files)))
    what = draw(st.sampled_from(("lost", "empty", "doubled", "text", "index")))
    changed = {
        "lost": {other: content for other, content in files.items() if other != name},
        "empty": files | {name: b""},
        "doubled": files | {f"copy of {name}": files[name]},
        "text": files | {name: b"<html>SECRET</html>"},
        "index": files | {"DICOMDIR": files[name]},
    }
    return changed[what]
