"""Find in texts and JSON values what nobody should publish: secrets, paths of a machine, and headers of scans."""

import base64
import binascii
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from pydicom.datadict import DicomDictionary

from .file_signatures import SCAN, kind_of_bytes

TOKEN, LOCAL_PATH, HEADER_FIELD = "token", "local path", "header field"


@dataclass(frozen=True)
class PrivateText:
    """Something private in a text: its kind, and what was recognised, which never quotes it."""

    kind: str
    cause: str


_TOKENS = {
    "a Hugging Face token": r"\b(?:hf|api_org)_[A-Za-z0-9]{20,}",
    "a key that begins with sk-": r"\bsk-[A-Za-z0-9_-]{20,}",
    "an AWS key": r"\b(?:AKIA|ASIA|AGPA|AIDA|AROA|ANPA)[A-Z0-9]{16}\b",
    "a GitHub token": r"\b(?:gh[pousr]_[A-Za-z0-9]{30,}|github_pat_\w{20,})",
    "a GitLab token": r"\bglpat-[\w-]{20,}",
    "a Slack token": r"\bxox[abprs]-[\w-]{10,}",
    "a Google key": r"\b(?:AIza[\w-]{35}|ya29\.[\w-]{20,})",
    "a private key": r"-----BEGIN [A-Z ]*PRIVATE KEY-----",
    "a JSON web token": r"\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,}",
    "a bearer token": r"\b[Bb]earer\s+[\w.~+/-]{20,}",
    "an address with a password": r"\b[a-z][a-z0-9+.-]*://[^\s/:@]+:[^\s/@]+@",
}
# One pattern for a part of a path; a path has a root and at least two parts, so that "and/or" and "/s" are none.
_PART = r"[\w.@+=,%~-]+"
_PATHS = {
    "an absolute path": rf"(?<![\w/.:<>*)\]}}~-])/{_PART}/{_PART}",
    "a path in a home folder": rf"(?<![\w/])(?:~\w*|\$\{{?HOME\}}?)/{_PART}",
    "a path of Windows": rf"(?<!\w)[A-Za-z]:\\+{_PART}|(?<![\\\w])\\\\{_PART}\\{_PART}",
    "an address of files": r"\b(?:file|s3|s3a|gs|abfss?|wasbs?|dbfs|hdfs|smb|nfs|sftp|ssh)://",
}
# Roots that code names only by mistake; other absolute paths in code are the system's own or examples.
_MACHINE_ROOTS = (
    r"(?:home|Users|root|mnt|media|scratch|data|datasets?|tmp|work|workspace|gpfs|lustre|nfs|srv|storage|content)"
)
_CODE_PATHS = {
    "an absolute path": rf"(?<![\w/.:<>*)\]}}~-])/{_MACHINE_ROOTS}/{_PART}",
    "a path of Windows": rf"(?<!\w)[A-Za-z]:\\+Users\\+{_PART}",
}
_HEADERS = {
    "the tag of a patient's data": r"\(?\b0010\s*,\s*[0-9A-Fa-f]{4}\b",
    "the identifier of a study, series or image": r"(?<![\d.])[0-2](?:\.\d+){6,}(?![\d.])",
}
# Keys of JSON whose value is a path or a secret whatever it looks like.
_PATH_KEY = re.compile(r"(?:^|_)(?:name_or_path|dir|path|folder|directory|root)s?$")
_SECRET_KEY = re.compile(r"(?:^|_)(?:hub_token|hf_token|auth_token|access_token|refresh_token|api_?key|access_?key|"
                         r"secret|password|passwd|credentials?|private_key)$")  # fmt: skip
_DICOM_JSON_KEY = re.compile(r"[0-9A-Fa-f]{8}")
_BASE64 = re.compile(r"(?:data:[^,]*;base64,)?([A-Za-z0-9+/\r\n]{256,}={0,2})\s*")
_NIFTI_FIELDS = frozenset(
    ("qoffset_x", "srow_x", "srow_y", "srow_z", "descrip", "db_name", "aux_file", "qform_code", "sform_code")
)
# Names that other programs give to the same fields.
_OTHER_FIELDS = frozenset(
    (*("mrn", "ssn", "dob", "dateofbirth", "birthdate", "medicalrecordnumber", "hospitalnumber", "healthnumber"),
     *("patient", "patientuid", "subjectname", "firstname", "lastname", "surname", "givenname", "familyname"))
)  # fmt: skip


def private_in_text(text: str, *, is_code: bool = False) -> Iterator[PrivateText]:
    """Yield each kind of private content in a text once.

    Args:
        text: any text.
        is_code: the text is the program's own code, which names fields of headers and paths of the system.
    """
    yield from _matches(TOKEN, _TOKENS, text)
    yield from _matches(LOCAL_PATH, _CODE_PATHS if is_code else _PATHS, text)
    if is_code:
        return
    yield from _matches(HEADER_FIELD, _HEADERS, text)
    if named := _identifying_pattern().search(text):
        # The field's name is the standard's, not the patient's.
        yield PrivateText(HEADER_FIELD, f"the header's field {named.group()}")


def private_in_values(content: Any, place: str = "") -> Iterator[tuple[str, PrivateText]]:
    """Yield what is private in nested mappings and lists, in their keys too, each with its dotted place."""
    if isinstance(content, dict):
        for key, value in content.items():
            # A key may itself be the secret; then it must not be quoted.
            found = list(private_in_text(str(key))) + list(_private_key(str(key), value))
            inner = f"{place}.{key}".lstrip(".") if not list(private_in_text(str(key))) else place
            yield from ((inner, each) for each in dict.fromkeys(found))
            yield from private_in_values(value, inner)
    elif isinstance(content, list | tuple):
        for value in content:
            yield from private_in_values(value, place)
    elif isinstance(content, str):
        yield from ((place, each) for each in private_in_text(content))
        if re.fullmatch(rf"/{_PART}/?", content):
            yield place, PrivateText(LOCAL_PATH, "an absolute path")
        if _embeds_scan(content):
            yield place, PrivateText(SCAN, "a scan, encoded in base64")


def _matches(kind: str, patterns: dict[str, str], text: str) -> Iterator[PrivateText]:
    yield from (PrivateText(kind, cause) for cause, pattern in patterns.items() if re.search(pattern, text))


def _private_key(key: str, value: Any) -> Iterator[PrivateText]:
    """Yield what a key says about its value."""
    plain = re.sub(r"[\W_]", "", key).lower()
    if key in _header_fields() or key in _NIFTI_FIELDS or plain in _identifying_fields() | _OTHER_FIELDS:
        yield PrivateText(HEADER_FIELD, "a field of a scan's header")
    if _DICOM_JSON_KEY.fullmatch(key) and isinstance(value, dict) and "vr" in value:
        yield PrivateText(HEADER_FIELD, "a field of a DICOM header")
    if isinstance(value, str) and value:
        if _PATH_KEY.search(key):
            yield PrivateText(LOCAL_PATH, "a path of the machine that wrote it")
        if _SECRET_KEY.search(key.lower()):
            yield PrivateText(TOKEN, "a secret by its name")


def _embeds_scan(text: str) -> bool:
    found = _BASE64.fullmatch(text)
    if found is None:
        return False
    encoded = "".join(found.group(1).split())[:4096]
    try:
        return kind_of_bytes(base64.b64decode(encoded[: len(encoded) // 4 * 4])) is not None
    except (binascii.Error, ValueError):
        return False


@cache
def _header_fields() -> frozenset[str]:
    """Return the standard's keywords of two words and more; one word alone may be any setting's name."""
    keywords = (entry[4] for entry in DicomDictionary.values())
    return frozenset(word for word in keywords if len(re.findall(r"[A-Z][a-z]+|[A-Z]{2,}", word)) > 1)


@cache
def _identifying_keywords() -> frozenset[str]:
    """Return the standard's keywords that name a person, a patient, an institution or an object of a study."""
    known = ((entry[4], entry[0]) for entry in DicomDictionary.values() if entry[4])
    return frozenset(
        word
        for word, kind in known
        if "PN" in kind.split(" or ")
        or re.match(r"Patient[A-Z]|OtherPatient|IssuerOfPatient|Accession|Institution|Station|Physician|Operator", word)
        or re.fullmatch(r"(?:Study|Series|SOP)InstanceUID|StudyID|(?:Study|Series|Acquisition)(?:Date|Time)", word)
    )


@cache
def _identifying_fields() -> frozenset[str]:
    return frozenset(word.lower() for word in _identifying_keywords())


@cache
def _identifying_pattern() -> re.Pattern[str]:
    return re.compile(rf"\b(?:{'|'.join(sorted(_identifying_keywords(), key=len, reverse=True))})\b")
