"""The errors a user may see. Each message says what happened and what to do about it."""

from __future__ import annotations


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
        super().__init__(f"{path}: {cause}. {remedy}")
        self.path, self.cause, self.remedy = str(path), cause, remedy


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


class MissingWeightsError(MediRoundError):
    """Model files are not on this machine, or are not the files they should be."""


class SettingsError(MediRoundError):
    """A preset, recipe or registry file, or an option, has a value that is not allowed."""


class CancelledError(MediRoundError):
    """The user cancelled the work."""
