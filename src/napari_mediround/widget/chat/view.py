"""What the controller says to a chat view, and what it hears: signals out, setters in. Knows no Qt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from psygnal import SignalInstance

from napari_mediround.questions.suggestions import Suggestion
from napari_mediround.widget.stack.stack_view import RibbonPlane, StackState

KEYS = {
    "accept": "J", "fix": "K", "reject": "N", "undo": "U", "redo": "Shift+U", "carry": "Shift+C",
    "doubtful": "Shift+D",
}  # fmt: skip
"""The key of each step, free in every napari layer: C alone changes the contrast of an image.

A key means one thing everywhere: J keeps a mask, also the one that is being fixed; K takes the click tool,
and begins a fix where none is; N, which rejects a mask, does nothing during a fix.
"""

REASON_KEYS = {
    "leak": "G", "miss": "H", "boundary": "Shift+B", "wrong side": "Shift+S", "wrong reference": "W",
}  # fmt: skip
"""The key that ends a fix, by the reason it gives."""

DONE_KEY, DROP_KEY = "Enter", "Escape"
"""The keys that end a fix without a reason, and that drop it."""

TOOLS = {"inside": "K", "outside": "K", "box": "K", "paint": "P", "erase": "E", "fill": "F"}
"""What a mask can be fixed with: what the model answers, K goes through those; then napari's own three."""


@dataclass(frozen=True)
class Action:
    """Something that can be done: a button's text, and what `action_chosen` carries.

    Parameters
    ----------
    label : str
        On the button.
    key : object
        What `action_chosen` carries.
    hint : str
        Under the pointer.
    picture : Picture, optional
        Beside the label.
    """

    label: str
    key: object
    hint: str = ""
    picture: Picture | None = None


@dataclass(frozen=True)
class Picture:
    """A small grey picture, uint8, row by row."""

    rows: int
    columns: int
    grey: bytes


@dataclass(frozen=True)
class MaskLine:
    """One mask of a reply.

    Parameters
    ----------
    value : int
        Its label value.
    colour : str
        Of that value, "#rrggbb".
    structure : str
        Its name.
    quality : float or None
        Judged, 0…1; None where a person drew it.
    area : str
        With its unit.
    volume : str
        Of this plane's slice of it, with its unit; "" where the image states no spacing.
    corrected : bool
        Whether the corrector's mask replaced the first one.
    verdict : {"", "accepted", "corrected", "rejected"}
        Of the user.
    number : int
        The one that people see and type, where it is not `value`: that of its structure.
    recipe : str
        What was done to it in words, "" for nothing.
    stale : str
        What has changed since, in words; "" for nothing.
    again : Action, optional
        To do the last of it again with what has changed.
    ribbon : tuple of RibbonPlane
        The planes of its structure, in order; empty where there is one only.
    planes : int
        How many planes the stack has.
    actions : tuple of Action
        What can be done with all planes of the structure.
    imported : bool
        Whether it came from elsewhere.
    """

    value: int
    colour: str
    structure: str
    quality: float | None
    area: str
    volume: str = ""
    corrected: bool = False
    verdict: str = ""
    number: int = 0
    recipe: str = ""
    stale: str = ""
    again: Action | None = None
    ribbon: tuple[RibbonPlane, ...] = ()
    planes: int = 0
    actions: tuple[Action, ...] = ()
    imported: bool = False

    def __post_init__(self) -> None:
        if not self.number:
            object.__setattr__(self, "number", self.value)

    @property
    def values(self) -> tuple[int, ...]:
        """Label values of its planes."""
        return tuple(dict.fromkeys((self.value, *(one.value for one in self.ribbon))))


@dataclass(frozen=True)
class AbsentLine:
    """A structure that was asked for and not found.

    Parameters
    ----------
    text : str
        "No kidney on this plane."
    confirmed : bool
        Whether a person said that it is absent.
    actions : tuple of Action
        To say so, or to draw it.
    """

    text: str
    confirmed: bool = False
    actions: tuple[Action, ...] = ()


@dataclass(frozen=True)
class Chip:
    """What a phrase of a question points at, and what it could point at instead.

    Parameters
    ----------
    phrase : str
        Of the question; "" for what was understood beside the masks it points at.
    current : str
        What it means ("1 liver"), or what was understood ("the left kidney", "not the spleen").
    value : int
        Of that mask, in the Labels layer; 0 for no mask.
    choices : tuple of Action
        The masks that it could mean; in the question being typed each key is a `Reference`, in a reply
        what `action_chosen` carries.
    """

    phrase: str
    current: str
    value: int
    choices: tuple[Action, ...] = ()


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
        What the model says; "" where the lines of what was not found say all.
    references : tuple of Chip
        What the question pointed at.
    masks : tuple of MaskLine
        Empty when nothing was segmented.
    notes : tuple of str
        What the user should know of how it was computed.
    seconds : float
        From question to answer, with the waiting.
    actions : tuple of Action
        What else can be done with the round: ask it again, go on from it.
    absent : tuple of AbsentLine
        What was not found.
    """

    round: int
    plane: int
    plane_name: str
    text: str
    references: tuple[Chip, ...]
    masks: tuple[MaskLine, ...]
    notes: tuple[str, ...]
    seconds: float
    actions: tuple[Action, ...] = ()
    absent: tuple[AbsentLine, ...] = ()


@dataclass(frozen=True)
class Message:
    """A line from the program rather than the model; `is_error` sets it apart."""

    text: str
    is_error: bool = False
    actions: tuple[Action, ...] = ()


Entry = Question | Reply | Message


@dataclass(frozen=True)
class NameRow:
    """A mask of a file that comes in, and what it is taken for.

    Parameters
    ----------
    value : int
        Its label value in the file.
    text : str
        What the file calls it.
    structure : str
        What it is taken for; "" where nothing is likely.
    choices : tuple of str
        What else it may be.
    why : str
        Why a person is asked; "" where nobody needs to be.
    sure : bool
        Whether nobody needs to be asked.
    """

    value: int
    text: str
    structure: str
    choices: tuple[str, ...] = ()
    why: str = ""
    sure: bool = True


@dataclass(frozen=True)
class FixState:
    """The fix under way.

    Parameters
    ----------
    name : str
        Of the mask ("1 liver").
    tool : str
        One of `TOOLS`, or "" while none is in hand.
    hint : str
        What to do now, or why nothing can be drawn.
    """

    name: str
    tool: str
    hint: str


DEVICES = ("auto", "cuda", "mps", "cpu")


class ChatView(Protocol):
    """A chat about one image at a time. The setters emit no signal."""

    question_asked: SignalInstance
    """(text)"""
    question_edited: SignalInstance
    """(text) at each change of the text being typed."""
    cancel_asked: SignalInstance
    """()"""
    project_chosen: SignalInstance
    """(folder)"""
    image_chosen: SignalInstance
    """(index) into the images last shown."""
    volume_chosen: SignalInstance
    """(index) of the volumes along time or channels."""
    plane_chosen: SignalInstance
    """(plane) 0-based."""
    follow_chosen: SignalInstance
    """(bool) whether the plane follows the viewer."""
    modality_chosen: SignalInstance
    """(index) into the modalities last shown."""
    window_chosen: SignalInstance
    """(index) into the windows last shown."""
    action_chosen: SignalInstance
    """(key) of the `Action`."""
    reference_chosen: SignalInstance
    """(phrase, Reference) that it shall point at, in the question being typed."""
    device_chosen: SignalInstance
    """(name) of `DEVICES`."""
    free_text_chosen: SignalInstance
    """(bool) whether the language model may answer what draws nothing."""
    step_chosen: SignalInstance
    """(step) of `KEYS`, for the current mask; "drop" drops the fix."""
    mask_chosen: SignalInstance
    """(value): make it the current mask."""
    mask_hovered: SignalInstance
    """(value) under the pointer, 0 when it has left."""
    tool_chosen: SignalInstance
    """(tool) of `TOOLS`."""
    reason_chosen: SignalInstance
    """(reason): end the fix; "" is none."""
    stack_chosen: SignalInstance
    """(bool) whether a question means the stack where its words do not say so."""
    run_step_chosen: SignalInstance
    """(step) "pause", "resume", "cancel" or "follow", for what is followed through the stack."""
    masks_given: SignalInstance
    """(paths) of files or folders whose masks are to be taken."""
    layer_given: SignalInstance
    """() take the selected layer as masks."""
    names_chosen: SignalInstance
    """(names) of the masks asked about, by value, "" to leave one out; None takes none."""
    key_pressed: SignalInstance
    """(key) "J", "Shift+U": a letter pressed in the view, but not in a text box."""

    def show_project(self, name: str, hint: str) -> None:
        """Show which project folder the rounds go to."""

    def show_images(self, names: Sequence[str], current: int) -> None:
        """List the images; -1 is none."""

    def show_volume(self, volume: int, volumes: int, hint: str) -> None:
        """Show which of several volumes is asked about; 1 hides the choice."""

    def show_plane(self, plane: int, planes: int, name: str, hint: str) -> None:
        """Show which plane is asked about."""

    def show_windows(self, names: Sequence[str], current: int) -> None:
        """List the windows; an empty list hides the choice."""

    def show_modalities(self, names: Sequence[str], current: int) -> None:
        """List what the image can be taken for; an empty list hides the choice."""

    def show_entries(self, entries: Sequence[Entry]) -> None:
        """Make the chat these entries; what has not changed stays as it is."""

    def show_current(self, value: int, undo: str, redo: str) -> None:
        """Show which mask the keys act on (0 is none) and what undo and redo would take ("" is nothing)."""

    def show_chips(self, chips: Sequence[Chip], problem: str) -> None:
        """Show what the text being typed points at, or why it points at nothing."""

    def show_suggestions(self, suggestions: Sequence[Suggestion]) -> None:
        """Offer questions."""

    def show_fix(self, fix: FixState | None) -> None:
        """Show the fix under way, or none."""

    def show_stack(self, stack: StackState | None) -> None:
        """Show what is being followed through the stack, or nothing."""

    def show_busy(self, text: str, done: int = 0, steps: int = 0) -> None:
        """Show what is being done, and how many of its steps are done where they are known; "" is nothing."""

    def show_status(self, text: str) -> None:
        """Show device, preset, adapter and queue."""

    def restore_question(self, text: str) -> None:
        """Put a question back into the input, unless something else was typed."""

    def ask_names(self, title: str, rows: Sequence[NameRow]) -> None:
        """Ask what masks are; `names_chosen` says it."""

    def focus_question(self) -> None:
        """Put the cursor into the input."""
