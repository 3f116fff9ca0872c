"""Choose one of thirty instructions to write the report of a CT; a scan always gets the same one."""

import hashlib

INSTRUCTIONS = (
    "Write the report of this CT.",
    "Please write a radiology report for this CT scan.",
    "Describe what this CT scan shows, as a radiologist would.",
    "Generate the report for this chest CT.",
    "What are the findings in this CT volume? Answer with a report.",
    "Read this scan and dictate your report.",
    "Draft a radiology report from this 3D CT.",
    "Provide the findings and the impression for this CT.",
    "Report this examination.",
    "Summarize this CT scan in a radiology report.",
    "Look at this CT volume and write down what you find.",
    "Compose a report for the attached CT scan.",
    "You are reading this chest CT. What do you report?",
    "Give a full report of this CT examination.",
    "Prepare the radiologist's report for this scan.",
    "Interpret this CT and report your findings.",
    "Write up this CT scan for the referring physician.",
    "Which findings are present in this CT? Write a report.",
    "Turn this CT volume into a written report.",
    "Create a radiology report based on this scan.",
    "Please report the findings of this CT study.",
    "Examine this CT scan and state your findings.",
    "Produce a report of this chest CT, normal findings included.",
    "Describe the lungs, the heart and the other organs on this CT.",
    "Go through this CT volume and write the report.",
    "What would the report of this CT scan say?",
    "Dictate the report for this CT study.",
    "Please interpret this CT volume in the form of a report.",
    "Write the findings you see in this scan.",
    "Deliver a radiology report for this CT volume.",
)


def instruction_for(scan_id: str) -> str:
    """Return the instruction for a scan: chosen by a hash of its id, the same in every run.

    Raises:
        ValueError: if the id is empty.
    """
    if not scan_id:
        raise ValueError("a scan id is needed to choose its instruction, got an empty one")
    digest = hashlib.sha256(scan_id.encode("utf-8")).digest()
    return INSTRUCTIONS[int.from_bytes(digest[:8], "big") % len(INSTRUCTIONS)]
