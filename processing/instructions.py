"""Choose one of the instructions to write the report of a CT: the paper's own, or one of its thirty variants."""

import hashlib

# Paper, section 3.2, word for word. Evaluation and reports use this one.
INSTRUCTION = (
    "Please generate a detailed description for the given 3D CT scan, including both normal and abnormal patterns."
)

# The paper let GPT-4o rephrase the instruction into 30 variants of the same meaning, and does not list them. These are
# ours; each asks for the whole description, of what is normal and of what is not.
VARIANTS = (
    "Describe the given 3D CT scan in detail, covering both normal and abnormal patterns.",
    "Please write a detailed description of this 3D CT scan that includes normal as well as abnormal patterns.",
    "Provide a thorough description of the 3D CT scan, with all normal and abnormal findings.",
    "Give a full account of the given CT volume, both of what is normal and of what is abnormal.",
    "Generate a comprehensive description of this 3D CT scan, noting normal and abnormal patterns alike.",
    "Please describe in detail what the 3D CT scan shows, including its normal and its abnormal patterns.",
    "Produce a detailed report of the given 3D CT scan that states both normal and abnormal findings.",
    "Write an in-depth description for this CT volume; include normal patterns and abnormal ones.",
    "Could you describe this 3D CT scan in detail, with its normal and abnormal patterns?",
    "For the given 3D CT scan, generate a detailed description of both normal and abnormal findings.",
    "Please provide a complete description of the CT scan, mentioning normal structures and abnormal changes.",
    "Compose a detailed description of the 3D CT volume, in which both normal and abnormal patterns appear.",
    "Examine the given 3D CT scan and describe its normal and abnormal patterns in detail.",
    "Draft a detailed description of this 3D CT scan, covering normal appearances and abnormal ones.",
    "Please give a detailed description of the given CT volume, normal and abnormal patterns included.",
    "Create a careful and detailed description of the 3D CT scan, with normal and abnormal findings.",
    "Review this 3D CT scan and write a detailed description that covers normal and abnormal findings.",
    "Describe at length the normal and the abnormal patterns in the given 3D CT scan.",
    "Please prepare a detailed description of the 3D CT scan, reporting both normal and abnormal patterns.",
    "What does this 3D CT scan show? Describe both the normal and the abnormal patterns in detail.",
    "Offer a detailed description of the given 3D CT, with everything normal and everything abnormal in it.",
    "Generate a detailed text that describes the 3D CT scan, both where it is normal and where it is abnormal.",
    "Please describe this CT volume thoroughly, including normal patterns as well as abnormalities.",
    "Supply a detailed description for the 3D CT scan at hand, including normal and abnormal observations.",
    "Read the given 3D CT scan and describe in detail all normal and abnormal patterns.",
    "Write out a detailed description of this CT scan, stating which patterns are normal and which are abnormal.",
    "Formulate a detailed description for the given 3D CT volume that includes both normal and abnormal features.",
    "Please go through the 3D CT scan and describe its normal and abnormal patterns in full detail.",
    "Deliver a detailed description of the given 3D CT scan, comprising normal and abnormal patterns.",
    "Look at this 3D CT scan and give a detailed description of normal findings and of abnormal findings.",
)

INSTRUCTIONS = (INSTRUCTION, *VARIANTS)


def instruction_for(scan_id: str) -> str:
    """Return the instruction that a scan is trained with: chosen by a hash of its id, the same in every run.

    Raises:
        ValueError: if the id is empty.
    """
    if not scan_id:
        raise ValueError("a scan id is needed to choose its instruction, got an empty one")
    digest = hashlib.sha256(scan_id.encode("utf-8")).digest()
    return INSTRUCTIONS[int.from_bytes(digest[:8], "big") % len(INSTRUCTIONS)]
