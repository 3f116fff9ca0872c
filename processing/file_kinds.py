"""Recognise the kind of a file that is not NIfTI, without quoting any of its content."""

GZIP_MAGIC = b"\x1f\x8b"
LFS_POINTER = b"version https://git-lfs"
NIFTI_ADVICE = "give a .nii or .nii.gz file, or a DICOM folder"
DOWNLOAD_ADVICE = "download the file itself again"

# First bytes of a file, its kind, and advice.
KINDS = (
    (LFS_POINTER, "a Git-LFS pointer", "fetch the file itself (git lfs pull)"),
    (b"/annex/objects/", "a git-annex pointer", "fetch the file itself (git annex get)"),
    (b"<!doctype html", "an HTML page", DOWNLOAD_ADVICE),
    (b"<html", "an HTML page", DOWNLOAD_ADVICE),
    (b"<?xml", "an XML document", DOWNLOAD_ADVICE),
    (b"{", "JSON text", DOWNLOAD_ADVICE),
    (b"[", "JSON text", DOWNLOAD_ADVICE),
    (b"pk\x03\x04", "a ZIP archive", "unzip it first"),
    (b"pk\x05\x06", "a ZIP archive", "unzip it first"),
    (b"rar!", "a RAR archive", "unpack it first"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", "unpack it first"),
    (b"\xfd7zxz", "a file compressed with xz", "unpack it first"),
    (b"bzh", "a file compressed with bzip2", "unpack it first"),
    (b"\x28\xb5\x2f\xfd", "a file compressed with zstd", "unpack it first"),
    (GZIP_MAGIC, "a gzip file compressed a second time", "unpack it once"),
    (b"nrrd", "an NRRD file", "convert it to .nii.gz"),
    (b"objecttype", "a MetaImage (.mha, .mhd)", "convert it to .nii.gz"),
    (b"ndims", "a MetaImage (.mha, .mhd)", "convert it to .nii.gz"),
    (b"\x89hdf", "an HDF5 or MINC file", "convert it to .nii.gz"),
    (b"cdf\x01", "a NetCDF or MINC file", "convert it to .nii.gz"),
    (b"\x93numpy", "a NumPy array", "pass it to CTVolume.from_array with its spacing"),
    (b"\x89png", "a PNG picture", NIFTI_ADVICE),
    (b"\xff\xd8\xff", "a JPEG picture", NIFTI_ADVICE),
    (b"ii*\0", "a TIFF picture", NIFTI_ADVICE),
    (b"mm\0*", "a TIFF picture", NIFTI_ADVICE),
    (b"%pdf", "a PDF document", NIFTI_ADVICE),
)


def describe_content(start: bytes) -> tuple[str, str]:
    """Return cause and advice for content that is not NIfTI.

    Args:
        start: about the first 300 bytes; fewer if the content is shorter.
    """
    kind, advice = _kind(start)
    return ("not a NIfTI file" + (f" but {kind}" if kind else "")), advice


def _kind(start: bytes) -> tuple[str, str]:
    if not start:
        return "empty", DOWNLOAD_ADVICE
    if start[128:132] == b"DICM":
        return "a DICOM file", "give the folder that holds the series"
    if start[257:262] == b"ustar":
        return "a tar archive", "unpack it first"
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    for magic, kind, advice in KINDS:
        if text.startswith(magic):
            return kind, advice
    if not start.strip(b"\0"):
        return "zeros alone", DOWNLOAD_ADVICE
    if all(byte in b"\t\r\n\f" or 32 <= byte < 127 for byte in start):
        return "a text file", DOWNLOAD_ADVICE
    return "", NIFTI_ADVICE
