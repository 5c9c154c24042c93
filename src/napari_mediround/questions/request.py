"""What a question was understood to ask for: frozen values, valid on construction. Knows no words."""

from __future__ import annotations

from dataclasses import dataclass, replace

from napari_mediround.domain.recipes import OPERATIONS

ACTIONS = ("segment", "edit", "measure", "verdict", "navigate", "export", "answer", "ask_back", "refuse")


MEASURES = ("volume", "area", "diameter", "short_axis", "mean", "distance", "count", "compare")


VERDICTS = ("accept", "reject", "fix", "rename", "undo", "redo", "cancel")


FORMATS = ("dicom_seg", "nifti", "rtstruct", "seg_nrrd", "nrrd", "png")


Ref = tuple[int, int]


"""Round and mask in it, both from 1."""


@dataclass(frozen=True)
class Wanted:
    """One structure that is asked for.

    Parameters
    ----------
    structure : str
        Preferred name without the side of a pair ("kidney"), "" where only a description is known.
    side : {"left", "right", "both", ""}
        The patient's; "" for what is not paired.
    described : str
        The words for what no name is known of ("vessel behind [1]").
    """

    structure: str = ""
    side: str = ""
    described: str = ""

    def __post_init__(self) -> None:
        if bool(self.structure) == bool(self.described):
            raise ValueError("a target has a name or a description")
        if self.side not in ("left", "right", "both", ""):
            raise ValueError(f"there is no side {self.side!r}")

    def __str__(self) -> str:
        side = f"{self.side} " if self.side in ("left", "right") else ""
        return side + (self.structure or self.described)

    def to_dict(self) -> dict:
        """Return JSON values, as in the corpus of phrases."""
        side = self.side or None
        if self.structure:
            return {"structure": self.structure, "side": side}
        return {"structure": None, "described": self.described, "side": side}


@dataclass(frozen=True)
class Request:
    """One step that is asked for, and those that follow it.

    Parameters
    ----------
    action : str
        One of `ACTIONS`.
    targets, excluded : tuple of Wanted
        What is to be drawn or measured, and what must not be drawn.
    references : tuple of (int, int)
        Masks that the words point at, in order of mention.
    scope : str or (int, int)
        "" for the plane asked about, else "plane", "stack", "next", "previous", "axial", "coronal",
        "sagittal", or the first and last plane.
    operation, mm, ml, not_into
        Of an edit: one of `OPERATIONS`, its amount, masks that a growth must spare.
    measure, verdict, rename, steps, export
        Of those actions; `steps` for undo and redo.
    navigate : tuple of (str, value)
        Of a navigation: "to", "by", "window", "view", "show", "opacity", "colour".
    choices : tuple of Wanted or (int, int)
        What `ask_back` offers.
    topic : str
        What an answer or a refusal is about.
    then : tuple of Request
        Further steps, in order.
    sure : bool
        Whether the words say this outright; False for what was mended or described.
    read_from : str
        The words that it was read from.
    """

    action: str
    targets: tuple[Wanted, ...] = ()
    references: tuple[Ref, ...] = ()
    excluded: tuple[Wanted, ...] = ()
    scope: str | tuple[int, int] = ""
    operation: str = ""
    mm: float | None = None
    ml: float | None = None
    not_into: tuple[Ref, ...] = ()
    measure: str = ""
    verdict: str = ""
    rename: str = ""
    steps: int = 1
    export: str = ""
    navigate: tuple[tuple[str, str | int | float], ...] = ()
    choices: tuple[Wanted | Ref, ...] = ()
    topic: str = ""
    then: tuple[Request, ...] = ()
    sure: bool = True
    read_from: str = ""

    def __post_init__(self) -> None:
        known = {"edit": (self.operation, OPERATIONS), "measure": (self.measure, MEASURES),
                 "verdict": (self.verdict, VERDICTS), "export": (self.export, FORMATS)}  # fmt: skip
        if self.action not in ACTIONS:
            raise ValueError(f"there is no action {self.action!r}")
        if self.action in known and known[self.action][0] not in known[self.action][1]:
            raise ValueError(f"{self.action} of {known[self.action][0]!r} is unknown")
        if self.action == "segment" and not (self.targets or self.references):
            raise ValueError("a request to segment names or points at something")
        if self.action == "edit" and not (self.references or self.topic == "result"):
            raise ValueError("an edit changes a mask")
        if {(t.structure, t.side) for t in self.targets} & {
            (t.structure, t.side) for t in self.excluded if t.structure
        }:
            raise ValueError("a structure is asked for and ruled out at once")
        for amount in (self.mm, self.ml):
            if amount is not None and not 0 < amount < 1000:
                raise ValueError(f"an amount of {amount} is not sensible")

    @property
    def all_steps(self) -> tuple[Request, ...]:
        """Itself and the steps after it, flat."""
        return (replace(self, then=()), *(one for step in self.then for one in step.all_steps))

    def to_dict(self) -> dict:
        """Return JSON values in the schema of the corpus of phrases; what is empty is left out."""
        edit = {k: v for k, v in (("op", self.operation), ("mm", self.mm), ("ml", self.ml)) if v}
        if self.not_into:
            edit["not_into"] = [list(r) for r in self.not_into]
        whole = {
            "targets": [t.to_dict() for t in self.targets],
            "references": [list(r) for r in self.references],
            "excluded": [str(t) for t in self.excluded],
            "scope": list(self.scope) if isinstance(self.scope, tuple) else self.scope,
            "edit": edit,
            "measure": self.measure,
            "verdict": self.verdict,
            "rename": self.rename,
            "amount": self.steps if self.steps != 1 else None,
            "export": self.export,
            "navigate": dict(self.navigate),
            "choices": [c.to_dict() if isinstance(c, Wanted) else list(c) for c in self.choices],
            "topic": self.topic,
            "then": [step.to_dict() for step in self.then],
        }
        return {"action": self.action, **{k: v for k, v in whole.items() if v}}
