"""Copy a study's identity from the header of an image, and repair what the standard, and so highdicom, refuses.

Copied are the elements of `COPIED`, and nothing else. A value that breaks its type's rules is brought into the usual
form where that cannot change its meaning (a date with hyphens), and left empty where it could (a number that is too
long), because another patient's number would be worse than none.
"""

import re
from collections.abc import Callable
from datetime import date

from pydicom import Dataset
from pydicom.valuerep import PersonName

from argus_processing.dicom_values import as_parts

# Type 2 of the patient and of the study: they are there, and empty where the source has no lawful value.
NEEDED = (
    "PatientName PatientID PatientBirthDate PatientSex StudyDate StudyTime AccessionNumber ReferringPhysicianName "
    "StudyID"
).split()
OPTIONAL = "IssuerOfPatientID StudyDescription PatientIdentityRemoved DeidentificationMethod".split()
COPIED = (*NEEDED, *OPTIONAL)
UTF_8 = "ISO_IR 192"
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\\]")
NO_LETTER = "\ufffd"
_DATE = re.compile(r"(\d{4})[-./ ]?(\d{1,2})[-./ ]?(\d{1,2})")
_TIME = re.compile(r"(\d{2}):?(\d{2})?:?(\d{2})?(?:[.,](\d{1,6}))?\d*")
_UID = re.compile(r"(?=.{1,64}$)(0|[1-9]\d*)(\.(0|[1-9]\d*))+")
_SEXES = {"M": "M", "F": "F", "O": "O", "MALE": "M", "FEMALE": "F", "OTHER": "O", "W": "F"}
_NAME_LETTERS, _NAME_GROUPS, _NAME_PARTS = 64, 3, 5


def text_of(value: object) -> str:
    """Return the text of an element's one value without control characters.

    Empty if it has none or several, or if bytes of it are no letters of its character set.
    """
    parts = values_of(value)
    if len(parts) != 1 or isinstance(parts[0], bytes) or NO_LETTER in str(parts[0]):
        return ""
    return " ".join(_CONTROL.sub(" ", str(parts[0])).split())


def values_of(value: object) -> list[object]:
    """Return the values of an element; a person's name is one, although it has letters to go through."""
    return [value] if isinstance(value, PersonName) and str(value) else as_parts(value)


def lawful_date(value: object) -> str:
    """Return a date as YYYYMMDD; empty if it is none."""
    match = _DATE.fullmatch(text_of(value))
    if match is None:
        return ""
    try:
        return date(*(int(part) for part in match.groups())).strftime("%Y%m%d").rjust(8, "0")
    except ValueError:
        return ""


def lawful_time(value: object) -> str:
    """Return a time of day as HHMMSS.ffffff, as exact as it is given; empty if it is none."""
    match = _TIME.fullmatch(text_of(value))
    if match is None:
        return ""
    hours, minutes, seconds, fraction = match.groups()
    if int(hours) > 23 or int(minutes or 0) > 59 or int(seconds or 0) > 59 or (fraction and not seconds):
        return ""
    return f"{hours}{minutes or ''}{seconds or ''}{'.' + fraction if fraction else ''}"


def lawful_name(value: object) -> str:
    """Return a person's name with at most three groups of five parts and 64 letters each; empty if it has more."""
    groups = [group.strip() for group in text_of(value).split("=")]
    is_lawful = len(groups) <= _NAME_GROUPS and all(
        len(group) <= _NAME_LETTERS and group.count("^") < _NAME_PARTS for group in groups
    )
    return "=".join(groups).rstrip("=") if is_lawful else ""


def lawful_uid(value: object) -> str:
    """Return a UID; empty if it is none."""
    text = text_of(value)
    return text if _UID.fullmatch(text) else ""


def _short(letters: int) -> Callable[[object], str]:
    def shortened(value: object) -> str:
        text = text_of(value)
        return text if len(text) <= letters else ""

    return shortened


def _lawful_sex(value: object) -> str:
    return _SEXES.get(text_of(value).upper(), "")


def _yes_or_no(value: object) -> str:
    text = text_of(value).upper()
    return text if text in ("YES", "NO") else ""


REPAIRS: dict[str, Callable[[object], str]] = {
    "PatientName": lawful_name,
    "ReferringPhysicianName": lawful_name,
    "PatientID": _short(64),
    "IssuerOfPatientID": _short(64),
    "StudyDescription": _short(64),
    "DeidentificationMethod": _short(64),
    "AccessionNumber": _short(16),
    "StudyID": _short(16),
    "PatientBirthDate": lawful_date,
    "StudyDate": lawful_date,
    "StudyTime": lawful_time,
    "PatientSex": _lawful_sex,
    "PatientIdentityRemoved": _yes_or_no,
}


def repaired_identity(header: Dataset) -> tuple[Dataset, tuple[str, ...]]:
    """Return the identity of a header's patient and study, and the names of elements that had to be left empty."""
    identity, emptied = Dataset(), []
    for keyword in COPIED:
        given = _given(header, keyword)
        value = REPAIRS[keyword](given)
        if not value and any(str(part).strip() for part in values_of(given)):
            emptied.append(keyword)
        if value or keyword in NEEDED:
            setattr(identity, keyword, value)
    if identity.get("PatientIdentityRemoved") == "YES" and "DeidentificationMethod" not in identity:
        identity.DeidentificationMethod = "not stated"  # needed beside it
    return identity, tuple(emptied)


def _given(header: Dataset, keyword: str) -> object:
    """Return an element's value; None where its bytes cannot be read as its type."""
    try:
        return header.get(keyword)
    except Exception:  # pydicom may raise anything for damaged bytes, and quotes them
        return None
