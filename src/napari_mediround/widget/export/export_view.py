"""What the export dock's controller needs of a view: signals out, setters in. Knows no Qt."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from psygnal import SignalInstance

from napari_mediround.domain.checks import Finding
from napari_mediround.domain.judged import Key, MaskRow


@dataclass(frozen=True)
class ExportForm:
    """What a user chose for an export.

    Parameters
    ----------
    masks, image : str
        Names of the layers; "" for none.
    form : str
        Name of the format.
    path : str
        The file, as typed.
    leaves_site, with_images, overwrite : bool
        Whether the file is de-identified, whether copies of the images go with it, and whether existing
        files are replaced.
    left_out : frozenset
        Keys of the masks that are not ticked.
    """

    masks: str
    image: str
    form: str
    path: str
    leaves_site: bool = False
    with_images: bool = False
    overwrite: bool = False
    left_out: frozenset[Key] = frozenset()


class ExportView(Protocol):
    """The export dock as a user sees it."""

    export_asked: SignalInstance
    cancel_asked: SignalInstance
    masks_chosen: SignalInstance
    """Another layer of masks was chosen."""
    image_chosen: SignalInstance
    """Another image was chosen."""
    mend_asked: SignalInstance
    """(Finding) whose fix is wanted."""
    entered: SignalInstance
    """The pointer came into the dock: what it lists may have changed."""

    @property
    def form(self) -> ExportForm:
        """What is chosen now."""

    def show_findings(self, findings: Sequence[Finding], words: str) -> None:
        """Show what the checks found, or words where there is nothing to list."""

    def show_layers(self, masks: Sequence[str], images: Sequence[str]) -> None:
        """List the layers; the chosen ones stay chosen."""

    def choose(self, masks: str = "", image: str = "", form: str = "") -> None:
        """Choose a layer of masks, an image or a format; "" leaves a choice as it is."""

    def show_masks(self, rows: Sequence[MaskRow], anew: bool) -> None:
        """List masks; with `anew` their verdicts alone decide which of them are ticked."""

    def tick(self, values: Collection[int]) -> None:
        """Tick the masks with these label values, and no other."""

    def show_formats(self, formats: Sequence[str], why_not: Mapping[str, str]) -> None:
        """Offer formats by name; `why_not` says of the others why they cannot hold these masks."""

    def show_busy(self, words: str) -> None:
        """Show what is being done, "" for nothing."""

    def allow_export(self, allowed: bool) -> None:
        """Let the user export, or not."""

    def show_receipt(self, text: str) -> None:
        """Show the receipt, or why there is none."""
