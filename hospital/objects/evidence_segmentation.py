"""Write an evidence map as a DICOM segmentation with fractions, on the grid of the images."""

import highdicom as hd
import numpy as np
from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian, RLELossless

from argus_processing.ct_checks import read_error

from .header_repair import text_of
from .object_identity import ObjectIdentity, stamp
from .research_marks import DEVICE_NAME, MAKER, SEG_MARK
from .source_images import SourceImages

SEG_NUMBER = 9003
LABEL_LETTERS = 64
ADVICE = "leave the evidence out"


def evidence_segmentation(
    source: SourceImages, fractions: np.ndarray, name: str, number: int, identity: ObjectIdentity
) -> Dataset:
    """Return a segmentation of one map; slices without evidence have no frame.

    Args:
        source: the images, each with one slice.
        fractions: `(slice, row, column)` in 0 to 1, on the images' grid.
        name: what the map is evidence for.
        number: of the map, from 1.
        identity: of the report.

    Raises:
        CTReadError: if a file holds several slices, or the images have no frame of reference.
    """
    if not source.are_single_slices:
        raise read_error("evidence", "the series is enhanced CT, and evidence is written for one slice a file", ADVICE)
    if "FrameOfReferenceUID" not in source.headers[0]:
        raise read_error("evidence", "the images have no FrameOfReferenceUID, so no place can be named", ADVICE)
    shown = np.flatnonzero(fractions.max(axis=(1, 2)) > 0)
    arguments = identity.arguments("evidence", SEG_NUMBER)
    arguments |= {"sop_instance_uid": identity.uid("evidence", str(number)), "instance_number": number}
    dataset = hd.seg.Segmentation(
        source_images=[source.headers[place] for place in shown],
        pixel_array=fractions[shown],
        segmentation_type="FRACTIONAL",
        fractional_type="PROBABILITY",
        max_fractional_value=255,
        segment_descriptions=[_segment(name, number, identity)],
        transfer_syntax_uid=ExplicitVRLittleEndian,
        content_label="AI_EVIDENCE",
        content_description=SEG_MARK,
        **arguments,
    )
    # The plugin is named, because GDCM's ends the whole program at a frame with an odd number of bytes.
    dataset.compress(RLELossless, encoding_plugin="pylibjpeg", generate_instance_uid=False)
    stamp(dataset, identity)
    return dataset


def _segment(name: str, number: int, identity: ObjectIdentity) -> hd.seg.SegmentDescription:
    return hd.seg.SegmentDescription(
        segment_number=1,
        segment_label=text_of(name.replace("\\", "/"))[:LABEL_LETTERS].strip() or "evidence",
        segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
        segmented_property_type=codes.SCT.Lesion,
        algorithm_type="AUTOMATIC",
        algorithm_identification=hd.AlgorithmIdentificationSequence(
            name=DEVICE_NAME,
            family=codes.cid7162.ArtificialIntelligence,
            version=identity.version,
            source=MAKER,
        ),
        tracking_uid=identity.uid("evidence", str(number), "tracking"),
        tracking_id=f"evidence {number}",
    )
