"""The errors a user may see. Each message says what happened and what to do about it."""

from __future__ import annotations

from collections.abc import Callable


def printable(text: object) -> str:
    """Return text with file names in it for people: what a terminal would obey is written as its code."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(text))


class MediRoundError(Exception):
    """Base of every error raised on purpose: its text can be shown to a user as it stands."""


class UnreadableFileError(MediRoundError):
    """A file cannot be used.

    Parameters
    ----------
    path : str or os.PathLike
        The file or folder.
    cause : str
        What is wrong with it, in words.
    remedy : str
        What the user can do.
    """

    def __init__(self, path, cause: str, remedy: str) -> None:
        super().__init__(printable(f"{path}: {cause}. {remedy}"))
        self.path, self.cause, self.remedy = str(path), cause, remedy


class OtherGridError(UnreadableFileError):
    """Masks lie on another grid than their image; they can be resampled where a person says so."""

    def __init__(self, path, difference: str, cause: str) -> None:
        remedy = "Open the image that they were drawn on, or let them be resampled (--resample)."
        super().__init__(path, f"{cause}: {difference}", remedy)
        self.difference = difference


class VolumeChoiceError(UnreadableFileError):
    """A file or series holds several volumes and the caller chose none; ``count`` is their number."""

    def __init__(self, path, cause: str, remedy: str, count: int) -> None:
        super().__init__(path, cause, remedy)
        self.count = count


class ExistingFileError(MediRoundError):
    """Refusing to overwrite an existing file; ``path`` names it."""

    def __init__(self, path) -> None:
        super().__init__(
            f"{path} exists already. Choose another name, or allow the file to be replaced (--overwrite)."
        )
        self.path = str(path)


class MismatchError(MediRoundError):
    """A file differs from what was written when it is read back; ``receipt`` says where."""

    def __init__(self, message: str, receipt=None) -> None:
        super().__init__(message)
        self.receipt = receipt


class SeriesChoiceError(MediRoundError):
    """A folder holds several series and none was chosen; ``choices`` lists them."""

    def __init__(self, message: str, choices: tuple = ()) -> None:
        super().__init__(message)
        self.choices = tuple(choices)


class DanglingReferenceError(MediRoundError):
    """A reference in a question points at nothing, or at several rounds; ``choices`` lists them."""

    def __init__(self, message: str, choices: tuple = ()) -> None:
        super().__init__(message)
        self.choices = tuple(choices)


class AlreadyThereError(MediRoundError):
    """What a question asks for has a mask on this plane; ``masks`` refers to what there is."""

    def __init__(self, message: str, masks: tuple = ()) -> None:
        super().__init__(message)
        self.masks = tuple(masks)


class MissingWeightsError(MediRoundError):
    """Model files are not on this machine, or are not the files they should be."""


class AdapterError(MediRoundError):
    """An adapter is damaged, belongs to other weights, or may not go live."""


class TooFewCorrectionsError(MediRoundError):
    """There is too little to learn from, or to test on."""


class SettingsError(MediRoundError):
    """A preset, recipe or registry file, or an option, has a value that is not allowed."""


class CancelledError(MediRoundError):
    """The user cancelled the work."""


def stop_if(cancelled: Callable[[], bool] | None) -> None:
    """Raise `CancelledError` when a question's `cancelled` says so."""
    if cancelled is not None and cancelled():
        raise CancelledError("The question was cancelled; nothing has changed.")


class JournalError(MediRoundError):
    """The journal of a project cannot be read or written; nothing that was acknowledged is lost."""


class ProjectBusyError(JournalError):
    """Another window or program has the project open."""
