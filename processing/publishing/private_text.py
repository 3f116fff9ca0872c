"""Find in texts and JSON values what nobody should publish: secrets, paths of a machine, and headers of scans."""

import base64
import binascii
import html
import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import unquote

from pydicom.datadict import DicomDictionary

from .file_signatures import SCAN, kind_of_bytes
from .token_forms import TOKEN_FORMS, WORDED_FORMS

TOKEN, LOCAL_PATH, HEADER_FIELD = "token", "local path", "header field"
HIDDEN = "hidden text"
# More numbers than any setting is a list of; a picture of 32 x 32 has as many.
MAX_NUMBERS = 1000


@dataclass(frozen=True)
class PrivateText:
    """Something private in a text: its kind, and what was recognised, which never quotes it."""

    kind: str
    cause: str


# One pattern for a part of a path; a path has a root and at least two parts, so that "and/or" and "/s" are none.
_PART = r"[\w.@+=,%~-]+"
_DRIVE = r"(?<![\w\\/?])[A-Za-z]:[\\/]+"
_PATHS = {
    "an absolute path": rf"(?<![\w/.<>*)\]}}~-])/{_PART}/{_PART}",
    "a path in a home folder": rf"(?<![\w/])(?:~\w*|\$\{{?HOME\}}?|%[A-Za-z]{{2,20}}%)[/\\]+{_PART}",
    "a path of Windows": rf"{_DRIVE}{_PART}|(?<![\\\w])\\\\{_PART}\\{_PART}",
    "a path of a file server": rf"(?<![\w:/.<\\])//{_PART}/{_PART}",
    "an address of files or of a database": (
        r"\b(?:file|s3|s3a|gs|gcs|r2|oss|abfss?|wasbs?|dbfs|hdfs|smb|nfs|s?ftp|ssh|rsync|dicom(?:web)?|jdbc:\w{1,20}|"
        r"postgres(?:ql)?|mysql|mongodb(?:\+srv)?|redis)://|\bfile:/"
    ),
    "an address inside a network": (
        r"://(?:localhost\b|127\.\d|10\.\d{1,3}\.\d{1,3}\.\d|192\.168\.\d|172\.(?:1[6-9]|2\d|3[01])\.\d|"
        r"[\w.-]{1,200}\.(?:local|internal|intranet|lan|corp)\b)"
    ),
}
# Roots that code names only by mistake; other absolute paths in code are the system's own or examples.
_MACHINE_ROOTS = (
    r"(?:home|Users|root|mnt|media|scratch|data|datasets?|tmp|work|workspace|gpfs|lustre|nfs|srv|storage|content)"
)
_CODE_PATHS = {
    "an absolute path": rf"(?<![\w/.:<>*)\]}}~-])/{_MACHINE_ROOTS}/{_PART}",
    "a path of Windows": rf"{_DRIVE}Users[\\/]+{_PART}",
}
_OF_A_PERSON = r"(?:name|id|number|birth[ _-]?date|date of birth|dob|address|phone)"
_HEADERS = {
    "the tag of a patient's data": r"\(?\b0010\s{0,4},\s{0,4}[0-9A-Fa-f]{4}\b",
    "the identifier of a study, series or image": r"(?<![\d.])(?:[0-2](?:\.\d+){6,}|2\.25\.\d{10,})(?![\d.])",
    "a name as DICOM writes it": r"(?<![\w^\[\\])[^\W\d_]{2,40}\^[^\W\d_]{2,40}(?![\w{(])",
    "an entry on a patient": (
        rf"(?i:\bpatient(?:'?s|’s)?[ _-]{{0,3}}{_OF_A_PERSON}[\"'`*]{{0,3}}\s{{0,3}}[:=|])[\s\"'`*]{{0,5}}[A-Z0-9]|"
        r"(?i:\b(?:mrn|dob|date of birth|accession(?: (?:no|number))?)[.\"'`*]{0,3}\s{0,3}[:=|#]\s{0,3}[\"'`]?\w*\d)"
    ),
}
# Keys of JSON whose value is a path or a secret whatever it looks like.
_PATH_KEY = re.compile(r"(?:^|_)(?:name_or_path|dir|path|folder|directory|root)s?$")
_SECRET_KEY = re.compile(r"(?:^|_)(?:hub_token|hf_token|auth_token|access_token|refresh_token|api_?key|access_?key|"
                         r"secret|password|passwd|credentials?|private_key)$")  # fmt: skip
_DICOM_JSON_KEY = re.compile(r"[0-9A-Fa-f]{8}")
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{128}[A-Za-z0-9+/_\r\n-]{128,}")
_HEX = re.compile(r"(?:[0-9A-Fa-f]{2}){256,}")
_DATA_URI = re.compile(r"data:(?:image|application|audio|video)/[\w.+-]{1,60}(?:;[\w=-]{1,60})?[;,]")
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f]")
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
        text: any text; what is written as entities, percent signs, wide or invisible letters is read as plain letters.
        is_code: the text is the program's own code, which names fields of headers and paths of the system.
    """
    yield from dict.fromkeys(each for reading in _readings(text) for each in _in_reading(reading, is_code))
    if embedded := _embedded(text):
        yield embedded


def hidden_in_text(text: str) -> Iterator[PrivateText]:
    """Yield what shows that a file is no text, such as one in UTF-16, which no other search would read."""
    if _CONTROL.search(text):
        yield PrivateText(HIDDEN, "control characters, as of a file that is no text in UTF-8")


def tokens_in_words(words: Iterable[str]) -> Iterator[PrivateText]:
    """Yield each kind of token among the words of a vocabulary, which may look like anything else."""
    yield from _matches(TOKEN, TOKEN_FORMS, "\n".join(words))


def _readings(text: str) -> list[str]:
    """Return a text as it stands, and as a person or a browser would read it."""
    plain = unicodedata.normalize("NFKC", unquote(html.unescape(text)))
    plain = (
        "".join(letter for letter in plain if unicodedata.category(letter) != "Cf") if not plain.isascii() else plain
    )
    return [text] if plain == text else [text, plain]


def _in_reading(text: str, is_code: bool) -> Iterator[PrivateText]:
    yield from _matches(TOKEN, TOKEN_FORMS | WORDED_FORMS, text)
    yield from _matches(LOCAL_PATH, _CODE_PATHS if is_code else _PATHS, text)
    if is_code:
        return
    yield from _matches(HEADER_FIELD, _HEADERS, text)
    if named := _identifying_pattern().search(text):
        # The field's name is the standard's, not the patient's.
        yield PrivateText(HEADER_FIELD, f"the header's field {named.group()}")


def _embedded(text: str) -> PrivateText | None:
    """Return what is found of a file that a text embeds: a picture or a scan in base64 or hexadecimal digits."""
    if _DATA_URI.search(text):
        return PrivateText(SCAN, "an embedded file, which may show a patient")
    for found in _BASE64.finditer(text):
        encoded = re.sub(r"\s", "", found.group()).replace("-", "+").replace("_", "/")[:4096]
        if _is_file(encoded):
            return PrivateText(SCAN, "a scan, encoded in base64")
    if any(kind_of_bytes(bytes.fromhex(found.group()[:8192])) for found in _HEX.finditer(text)):
        return PrivateText(SCAN, "a scan, encoded in hexadecimal digits")
    return None


def _is_file(encoded: str) -> bool:
    try:
        return kind_of_bytes(base64.b64decode(encoded[: len(encoded) // 4 * 4])) is not None
    except (binascii.Error, ValueError):
        return False


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
        if _count_numbers(content) > MAX_NUMBERS:
            yield place, PrivateText(SCAN, f"more than {MAX_NUMBERS:,} numbers, which may be a picture")
            return
        for value in content:
            yield from private_in_values(value, place)
    elif isinstance(content, str):
        yield from ((place, each) for each in private_in_text(content))
        if re.fullmatch(rf"/{_PART}/?", content):
            yield place, PrivateText(LOCAL_PATH, "an absolute path")


def _count_numbers(content: list | tuple) -> int:
    """Return how many numbers a list and the lists in it hold."""
    inner = sum(_count_numbers(value) for value in content if isinstance(value, list | tuple))
    return inner + sum(isinstance(value, int | float) for value in content)


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
