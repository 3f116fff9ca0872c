"""Define the errors of speaking to a PACS; their texts quote neither its answers nor a study."""


class PacsError(ValueError):
    """The PACS did not do what it was asked for; trying again later may help."""


class PacsDownError(PacsError):
    """The PACS cannot be reached, or does not answer in time."""


class PacsBusyError(PacsDownError):
    """The PACS says itself that it cannot work now."""


class StudyChangedError(PacsError):
    """Images came or went while a study was read."""


class StudyGoneError(PacsError):
    """A study that was listed is no longer there."""


class OtherReportError(PacsError):
    """The PACS holds an object with the UID of a report that has another text."""
