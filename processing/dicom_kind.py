"""Determine the kind of a DICOM file: a slice of a CT, a picture computed from one, or something else.

Vendors use their own words for kinds of pictures, in ImageType or, if it does not tell, in descriptions. These words
are compared here and never quoted.
"""

import re

from .dicom_library import UID, Dataset
from .dicom_values import as_parts, as_text

CT_CLASSES = ("1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.2.1", "1.2.840.10008.5.1.4.1.1.2.2")
CAPTURES = "1.2.840.10008.5.1.4.1.1.7"
IMAGE_MODALITIES = {"MR": "MR", "PT": "PET", "NM": "nuclear medicine", "US": "ultrasound", "XA": "angiography"}
IMAGE_MODALITIES |= {"CR": "radiography", "DX": "radiography", "MG": "mammography", "RF": "fluoroscopy"}
NOT_HU = {"ED", "EDW", "HU_MOD", "Z_EFF", "MGML", "PCT", "OD"}

SLICE, LOCALIZER, DERIVED, LOST = "slice", "localizers", "projections, reformats and other derived pictures", "lost"
OTHER = "DICOM objects that are not CT slices (captures, reports, annotations)"

# Each must stand as a word, without a letter directly beside it: "CSA MPR", "MPR_THICK", "T-MIP", "MIP10", not
# "MPRAGE".
PROJECTIONS = (
    r"(3D[ -]?|[A-Z])?MIPS?|(MAX|MIN|MN|AVE?|AVG|MEAN|SUM)[ -]?IP|(MAX|MIN|MINIMUM|MAXIMUM)[ -]?IPS?|MINMIP|AIP|"
    r"RAY[ -]?SUM|(MAXIMUM|MINIMUM|AVERAGE|MEAN)[ -]?INTENSITY|PROJECTION( IMAGE)?"
)
PAGES = (
    r"SCREEN[ -]?(SAVE|SHOT|CAPTURE|CAP)S?|SECONDARY[ -]?CAPTURE|DOSE[ -]?(INFO|REPORT|RECORD|PAGE|SUMMARY|SHEET|SR)|"
    r"(PATIENT|EXAM)[ -]?(PROTOCOL|SUMMARY|PAGE)|PROTOCOL[ -]?(PAGE|SHEET)|SUMMARY[ -]?(PAGE|SHEET|SERIES)"
)
REFORMATS = (
    r"MPRS?|MPVR|MPR[ -]?(THICK|THIN|RANGE)|CPR|CURVED|REFORMAT(TED|S|IERT|ION|IONS)?|MULTI[ -]?PLANAR|RESAMPLED|"
    r"CSA[ -]?(PARALLEL|RADIAL|CURVED|RESAMPLED|MPR|MIP|VRT|3D)|VRT|SSD|VOLUME[ -]?RENDER(ED|ING)?|VOL[ -]?REN|VXTL"
)
VAGUE = (  # these words count only in a picture that is marked as derived
    r"VR|3D|SURFACE|SHADED|CINEMATIC|ENDO(SCOPY|SCOPIC)?|FLY[ -]?THROUGH|SUBTRACT(ED|ION)|AVERAGED?|MAXIMUM|MINIMUM|"
    r"MEAN|MEDIAN|PERFUSION|PARAMETRIC( MAP)?|COLOU?R|FUSION|FUSED"
)
SCOUTS = r"LOCALI[SZ]ERS?|SCOUTS?|TOPO(GRAM|GRAMM|GRAMME|GRAMS)?|SURVIEWS?|SURVEY|SCANO(GRAM|GRAMS|SCOPE|SCOPY)?|PILOT"


def _words(pattern: str) -> re.Pattern:
    return re.compile(rf"(?<![A-Z])(?:{pattern})(?![A-Z])")


NAMED_ANYWAY, NAMED_UNLESS_ORIGINAL = _words(f"{PROJECTIONS}|{PAGES}"), _words(REFORMATS)
NAMED_IF_DERIVED, SCOUT_WORDS = _words(VAGUE), _words(SCOUTS)
# Thin slices that are the source of reformats: "1.25 FOR MPR", "MIP SOURCE".
PURPOSE = re.compile(r"\b(FOR|F[UÜ]R|FUER|POUR|PARA|PER|ZUR?)\b.*|\S+ (SOURCE|SRC)\b")
DESCRIPTIONS = ("SeriesDescription", "ImageComments", "DerivationDescription")


def kind_of(header: Dataset, meta_class: str) -> str:
    """Return the kind of a file: one of the names above, or the modality of another scan.

    Args:
        header: the elements that were read; a damaged file may lack any of them.
        meta_class: the SOP class in the file's meta group, empty if it has none.
    """
    modality, own_class = as_text(header.get("Modality")).upper(), as_text(header.get("SOPClassUID"))
    if modality in IMAGE_MODALITIES:
        return IMAGE_MODALITIES[modality]
    sop_class = own_class or meta_class  # anonymised files may have both blank
    if sop_class and sop_class not in CT_CLASSES:
        # A CT by the other value, or of an unknown class but with a position in the patient: a damaged slice.
        torn = meta_class in CT_CLASSES and not sop_class.startswith(CAPTURES)
        unknown = UID(sop_class).name == sop_class and modality == "CT" and "ImagePositionPatient" in header
        return LOST if torn or unknown else OTHER
    if modality != "CT":
        return LOST
    return derived_kind(image_type_of(header.get("ImageType")), [header.get(name) for name in DESCRIPTIONS]) or SLICE


def image_type_of(value: object) -> tuple[str, ...]:
    """Return ImageType's (or FrameType's) values in capitals."""
    return tuple(re.sub(r"[_\s]+", " ", str(part)).strip().upper() for part in as_parts(value))


def derived_kind(image_type: tuple[str, ...], descriptions: list[object]) -> str:
    """Return LOCALIZER or DERIVED for a picture that is not a slice of the scan, else nothing."""
    derived = "DERIVED" in image_type or "SECONDARY" in image_type
    patterns = [NAMED_ANYWAY, NAMED_UNLESS_ORIGINAL] + [NAMED_IF_DERIVED] * derived
    if any(SCOUT_WORDS.search(value) for value in image_type):
        return LOCALIZER
    if any(pattern.search(value) for pattern in patterns for value in image_type):
        return DERIVED
    if "ORIGINAL" in image_type and not derived:
        patterns = [NAMED_ANYWAY]
    for text in descriptions:
        words = PURPOSE.sub("", re.sub(r"[_\s]+", " ", as_text(text)).upper())
        if SCOUT_WORDS.search(words) and "AXIAL" not in image_type:
            return LOCALIZER
        if any(pattern.search(words) for pattern in patterns):
            return DERIVED
    return ""
