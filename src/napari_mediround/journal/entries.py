"""The entries of a journal, and their conversion to JSON and back. Knows no file and no rule.

An entry is one event: an image was opened, a round asked, masks imported, a verdict given, structures
followed through the stack, a branch taken, a step undone or redone, a damaged journal recovered. The JSON
holds masks by their hash, so that the journal's hash chain covers them and an unchanged mask is stored once.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, field

import numpy as np

from napari_mediround.domain.mask import Mask
from napari_mediround.domain.recipes import Recipe
from napari_mediround.domain.rounds import Answer, Imported, Reference, Round, Target
from napari_mediround.domain.verdicts import OVERLAPS, REASONS, VERDICTS, Prompts
from napari_mediround.journal.edits import MaskEdited, MaskRenamed
from napari_mediround.journal.stack_runs import StackBegun, StackEnded


@dataclass(frozen=True)
class ImageOpened:
    """An image was opened for the first time: a case begins.

    Parameters
    ----------
    modality : str
        DICOM's code, "" if the file does not state it.
    shape : tuple of int
        (plane, row, column), display order.
    """

    modality: str
    shape: tuple[int, int, int]


@dataclass(frozen=True)
class RoundAsked:
    """A question was answered.

    Parameters
    ----------
    round : Round
        The round, with its `parent`; its `id` is the number of the event.
    first_label : int
        Label value of the round's first mask; the other masks follow.
    model : tuple of (str, str)
        Preset, hashes of model and adapter, and device, as `Segmenter.describe` returns them.
    """

    round: Round
    first_label: int
    model: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class MasksImported:
    """Masks were taken from elsewhere, all in one step.

    Parameters
    ----------
    rounds : tuple of Round
        At first one for each mask, on the plane where it is largest; then those of its other planes, as
        carried from there. `index` and `parent` of the first are right, those of the others follow.
    first_label : int
        Label value of the first mask.
    model : tuple of (str, str)
        What judged them, as in `RoundAsked`; empty where nothing did.
    """

    rounds: tuple[Round, ...]
    first_label: int
    model: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Mark:
    """One mask of a verdict.

    Parameters
    ----------
    label : int
        Label value of the mask.
    before : Mask
        The mask before the verdict.
    after : Mask
        The mask that the person wants; for a rejected mask the same as before.
    changed : int
        How many pixels differ.
    quality : float, optional
        What the model judges of `after`, 0…1, where the model drew all of it; None where a person did.
    """

    label: int
    before: Mask
    after: Mask
    changed: int
    quality: float | None = None


@dataclass(frozen=True)
class VerdictGiven:
    """A person accepted, corrected or rejected masks.

    Parameters
    ----------
    verdict : {"accepted", "corrected", "rejected"}
        One verdict for all marks.
    marks : tuple of Mark
        The masks of the verdict.
    writes : tuple of (int, Mask)
        Label values and their masks from now on, after overlaps: marked masks and masks that lost pixels.
    overlap : {"keep", "replace", "both"}
        How overlaps with locked masks were resolved.
    seconds : float
        Time that the person took.
    prompts : Prompts
        Clicks, box and painted pixels of the fix.
    reason : str
        One of `REASONS`, or "".

    Raises
    ------
    ValueError
        When verdict, overlap or reason is not one of these words.
    """

    verdict: str
    marks: tuple[Mark, ...]
    writes: tuple[tuple[int, Mask], ...] = ()
    overlap: str = "keep"
    seconds: float = 0.0
    prompts: Prompts = field(default_factory=Prompts)
    reason: str = ""

    def __post_init__(self) -> None:
        for word, known in (
            (self.verdict, VERDICTS),
            (self.overlap, OVERLAPS),
            (self.reason, ("", *REASONS)),
        ):
            if word not in known:
                raise ValueError(f"{word!r} is none of {', '.join(filter(None, known))}")


@dataclass(frozen=True)
class Branched:
    """The conversation goes on from an earlier round, given by its `id`, or 0 for the start."""

    round: int


@dataclass(frozen=True)
class Undone:
    """A step was undone, given by the number of its event."""

    step: int


@dataclass(frozen=True)
class Redone:
    """An undone step was redone, given by the number of its event."""

    step: int


@dataclass(frozen=True)
class Recovered:
    """The journal was damaged and has been recovered.

    Parameters
    ----------
    masks : int
        Number of lost masks, which are empty now.
    kept : str
        Name of the file, beside the journal, that holds the damaged one.
    """

    masks: int
    kept: str


Entry = (
    ImageOpened
    | RoundAsked
    | MasksImported
    | VerdictGiven
    | StackBegun
    | StackEnded
    | MaskEdited
    | MaskRenamed
    | Branched
    | Undone
    | Redone
    | Recovered
)

KINDS: dict[str, type] = {
    "image": ImageOpened,
    "round": RoundAsked,
    "import": MasksImported,
    "verdict": VerdictGiven,
    "stack": StackBegun,
    "stack_end": StackEnded,
    "edit": MaskEdited,
    "name": MaskRenamed,
    "branch": Branched,
    "undo": Undone,
    "redo": Redone,
    "recovery": Recovered,
}
"""The word in the file for each entry."""


def kind_of(entry: Entry) -> str:
    """Return the word that stands for an entry in the file."""
    return next(word for word, kind in KINDS.items() if type(entry) is kind)


def pack_mask(mask: Mask) -> tuple[str, bytes]:
    """Return a mask's hash (SHA-256 of shape and runs) and its compressed runs."""
    raw = np.array([*mask.shape, *mask.runs], "<u4").tobytes()
    return hashlib.sha256(raw).hexdigest(), zlib.compress(raw, 6)


def unpack_mask(digest: str, packed: bytes) -> Mask:
    """Return the mask of `pack_mask`.

    Raises
    ------
    ValueError
        When the bytes do not match the hash.
    """
    try:
        raw = zlib.decompress(packed)
    except zlib.error as error:
        raise ValueError(f"mask {digest[:8]} is damaged: {error}") from error
    if hashlib.sha256(raw).hexdigest() != digest:
        raise ValueError(f"mask {digest[:8]} is damaged: its hash is another one")
    numbers = np.frombuffer(raw, "<u4").tolist()
    return Mask((numbers[0], numbers[1]), tuple(numbers[2:]))


def entry_to_body(entry: Entry, keep: Callable[[Mask], str]) -> dict:
    """Return an entry as JSON values; `keep` stores a mask and returns its hash."""
    if isinstance(entry, RoundAsked):
        return {
            "round": _round_to_body(entry.round, keep),
            "first_label": int(entry.first_label),
            "model": dict(entry.model),
        }
    if isinstance(entry, MasksImported):
        rounds = [_round_to_body(round_, keep) for round_ in entry.rounds]
        return {"rounds": rounds, "first_label": int(entry.first_label), "model": dict(entry.model)}
    if isinstance(entry, VerdictGiven):
        return {
            "verdict": entry.verdict,
            "marks": [_mark_to_body(mark, keep) for mark in entry.marks],
            "writes": [[value, keep(mask)] for value, mask in entry.writes],
            "overlap": entry.overlap,
            "seconds": float(entry.seconds),
            "prompts": asdict(entry.prompts),
            "reason": entry.reason,
        }
    if isinstance(entry, MaskEdited):
        return {
            "recipe": asdict(entry.recipe),
            "marks": [_mark_to_body(mark, keep) for mark in entry.marks],
            "inputs": [[value, keep(mask)] for value, mask in entry.inputs],
            "rounds": [_round_to_body(round_, keep) for round_ in entry.rounds],
            "first_label": int(entry.first_label),
            "names": [[value, name] for value, name in entry.names],
            **({"again": True} if entry.again else {}),
        }
    return asdict(entry)


def body_to_entry(kind: str, body: dict, load: Callable[[str], Mask]) -> Entry:
    """Return the entry that `entry_to_body` converted; `load` returns a mask for its hash.

    Raises
    ------
    ValueError, KeyError, TypeError
        When the body does not describe an entry of this kind.
    """
    if kind in ("round", "import"):
        model = tuple((str(key), str(value)) for key, value in body["model"].items())
        if kind == "round":
            return RoundAsked(_body_to_round(body["round"], load), body["first_label"], model)
        rounds = tuple(_body_to_round(inner, load) for inner in body["rounds"])
        return MasksImported(rounds, body["first_label"], model)
    if kind == "verdict":
        marks = tuple(_body_to_mark(m, load) for m in body["marks"])
        writes = tuple((value, load(digest)) for value, digest in body["writes"])
        prompts = Prompts(**body["prompts"])
        rest = {key: body[key] for key in ("overlap", "seconds", "reason")}
        return VerdictGiven(body["verdict"], marks, writes, prompts=prompts, **rest)
    if kind == "stack":
        return StackBegun(**{**body, **{key: tuple(body[key]) for key in ("numbers", "planes")}})
    if kind == "edit":
        return MaskEdited(
            Recipe(**body["recipe"]),
            tuple(_body_to_mark(m, load) for m in body["marks"]),
            tuple((value, load(digest)) for value, digest in body["inputs"]),
            tuple(_body_to_round(inner, load) for inner in body["rounds"]),
            body["first_label"],
            tuple((value, name) for value, name in body["names"]),
            body.get("again", False),
        )
    if kind == "name":
        return MaskRenamed(tuple(body["labels"]), body["name"])
    if kind == "image":
        return ImageOpened(body["modality"], tuple(body["shape"]))
    return KINDS[kind](**body)


def _mark_to_body(mark: Mark, keep: Callable[[Mask], str]) -> dict:
    body = {"label": mark.label, "before": keep(mark.before), "after": keep(mark.after)}
    judged = {} if mark.quality is None else {"quality": float(mark.quality)}
    return body | {"changed": mark.changed} | judged


def _body_to_mark(body: dict, load: Callable[[str], Mask]) -> Mark:
    masks = load(body["before"]), load(body["after"])
    return Mark(body["label"], *masks, body["changed"], body.get("quality"))


def _round_to_body(round_: Round, keep: Callable[[Mask], str]) -> dict:
    answer = round_.answer
    return {
        "index": round_.index,
        "parent": int(round_.parent or 0),
        "plane": int(round_.plane),
        "text": round_.text,
        "references": [[r.round, r.target, r.phrase] for r in round_.references],
        "window": _plain(round_.window),
        "seconds": float(round_.seconds),
        "answer": answer.text,
        "absent": list(answer.absent),
        "image": answer.image,
        "note": answer.note,
        **({"carried": True} if round_.carried else {}),
        **({"joins": [int(number) for number in round_.joins]} if any(round_.joins) else {}),
        **({"batch": int(round_.batch)} if round_.batch else {}),
        **({"imported": asdict(round_.imported)} if round_.imported else {}),
        "targets": [
            {
                "structure": t.structure,
                "quality": None if t.quality is None else float(t.quality),
                "corrected": bool(t.corrected),
                "mask": keep(t.mask),
            }
            for t in answer.targets
        ],
    }


def _plain(window: str | tuple[float, float] | None) -> str | list[float] | None:
    return window if window is None or isinstance(window, str) else [float(number) for number in window]


def _body_to_round(body: dict, load: Callable[[str], Mask]) -> Round:
    targets = tuple(
        Target(t["structure"], load(t["mask"]), t["quality"], t["corrected"]) for t in body["targets"]
    )
    answer = Answer(body["answer"], targets, tuple(body["absent"]), body["image"], body["note"])
    references = tuple(Reference(*reference) for reference in body["references"])
    window = tuple(body["window"]) if isinstance(body["window"], list) else body["window"]
    return Round(
        body["index"],
        body["plane"],
        body["text"],
        references,
        answer,
        body["seconds"],
        window,
        body["parent"],
        carried=body.get("carried", False),
        joins=tuple(body.get("joins", ())),
        batch=body.get("batch", 0),
        imported=Imported(**body["imported"]) if body.get("imported") else None,
    )
