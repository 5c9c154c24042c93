"""What the controller says to a chat view, and what it hears: signals out, setters in. Knows no Qt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from psygnal import SignalInstance

from napari_mediround.domain.rounds import Reference


@dataclass(frozen=True)
class MaskLine:
    """One mask of a reply.

    Parameters
    ----------
    value : int
        In the Labels layer.
    colour : str
        Of that value, "#rrggbb".
    structure : str
        Its name.
    quality : float
        Judged, 0…1.
    area : str
        With its unit.
    corrected : bool
        Whether the corrector's mask replaced the first one.
    """

    value: int
    colour: str
    structure: str
    quality: float
    area: str
    corrected: bool = False


@dataclass(frozen=True)
class Question:
    """What was asked, as shown in the chat."""

    text: str


@dataclass(frozen=True)
class Reply:
    """The answer to a question.

    Parameters
    ----------
    round : int
        Its number.
    plane : int
        Asked about, 0-based, display order.
    plane_name : str
        "axial plane 46".
    text : str
        What the model says.
    references : tuple of str
        What the question pointed at ("“it” is 1 liver").
    masks : tuple of MaskLine
        Empty when nothing was segmented.
    notes : tuple of str
        What the user should know of how it was computed.
    seconds : float
        From question to answer.
    """

    round: int
    plane: int
    plane_name: str
    text: str
    references: tuple[str, ...]
    masks: tuple[MaskLine, ...]
    notes: tuple[str, ...]
    seconds: float


@dataclass(frozen=True)
class Action:
    """Something a message offers to do: a button's text, and what `action_chosen` carries."""

    label: str
    key: object


@dataclass(frozen=True)
class Message:
    """A line from the program rather than the model; `is_error` sets it apart."""

    text: str
    is_error: bool = False
    actions: tuple[Action, ...] = ()


@dataclass(frozen=True)
class Chip:
    """What a phrase of the question being typed points at, and what it could point at instead."""

    phrase: str
    current: str
    choices: tuple[tuple[str, Reference], ...]


Entry = Question | Reply | Message


DEVICES = ("auto", "cuda", "mps", "cpu")


class ChatView(Protocol):
    """A chat about one image at a time. The setters emit no signal."""

    question_asked: SignalInstance
    """(text)"""
    question_edited: SignalInstance
    """(text) at each change of the text being typed."""
    cancel_asked: SignalInstance
    """()"""
    image_chosen: SignalInstance
    """(index) into the images last shown."""
    plane_chosen: SignalInstance
    """(plane) 0-based."""
    follow_chosen: SignalInstance
    """(bool) whether the plane follows the viewer."""
    window_chosen: SignalInstance
    """(index) into the windows last shown."""
    action_chosen: SignalInstance
    """(key) of the `Action`."""
    reference_chosen: SignalInstance
    """(phrase, Reference) that it shall point at."""

    device_chosen: SignalInstance
    """(name) of `DEVICES`."""

    def show_images(self, names: Sequence[str], current: int) -> None:
        """List the images; -1 is none."""

    def show_plane(self, plane: int, planes: int, name: str, hint: str) -> None:
        """Show which plane is asked about."""

    def show_windows(self, names: Sequence[str], current: int) -> None:
        """List the windows; an empty list hides the choice."""

    def show_entries(self, entries: Sequence[Entry]) -> None:
        """Replace the whole chat."""

    def add_entry(self, entry: Entry) -> None:
        """Add one entry at the end."""

    def show_chips(self, chips: Sequence[Chip], problem: str) -> None:
        """Show what the text being typed points at, or why it points at nothing."""

    def show_busy(self, text: str) -> None:
        """Show what is being done; "" when nothing is."""

    def show_status(self, text: str) -> None:
        """Show preset and device."""

    def restore_question(self, text: str) -> None:
        """Put a question back into the input, unless something else was typed."""
