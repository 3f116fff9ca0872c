"""Import the parts of pydicom that reading DICOM needs, so that a model of the Hub loads where it is not installed.

Before transformers runs a model's code from the Hub, it tries every import that stands outside of `try` in any of its
files, and refuses the model if one fails. The files that read DICOM are among them, also for users of NIfTI.
"""

try:
    from pydicom import Dataset
    from pydicom.encaps import generate_frames
    from pydicom.filereader import read_dataset
    from pydicom.tag import Tag
    from pydicom.uid import UID
    from pydicom.values import converters
except ModuleNotFoundError:  # `read_ct` says what to install, when a DICOM folder is given
    raise

__all__ = ["UID", "Dataset", "Tag", "converters", "generate_frames", "read_dataset"]
