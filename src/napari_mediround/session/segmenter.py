"""What a session needs of a model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from napari_mediround.domain.mask import Mask
from napari_mediround.domain.rounds import Answer, Conversation, Reference


class Segmenter(Protocol):
    """`set_image` once, `ask` often."""

    def set_image(
        self,
        image: NDArray[np.uint8],
        view: str = "",
        modality: str = "",
        spacing_mm: tuple[float, float] | None = None,
    ) -> str:
        """Take a rendered plane, uint8 (H, W, 3) in display order; return its key.

        `view` is "axial", "coronal" or "sagittal" where the patient's sides are known, `modality` DICOM's
        code where that is; `spacing_mm` is from row to row and from column to column.
        """

    def ask(
        self,
        text: str,
        conversation: Conversation,
        references: tuple[Reference, ...],
        cancelled: Callable[[], bool] | None = None,
        structures: tuple[str, ...] = (),
        chat: bool = True,
    ) -> Answer:
        """Answer one question about the image last set.

        With `structures`, preferred names, these are drawn whatever the words are. Without `chat`, a question
        that wants no mask has an answer without text.
        """

    def chat(self, text: str, conversation: Conversation, cancelled: Callable[[], bool] | None = None) -> str:
        """Let the language model answer freely; it does not see the image."""

    def refine(
        self,
        points_xy: NDArray | None = None,
        positive: NDArray | None = None,
        box_xyxy: NDArray | None = None,
        previous: Mask | None = None,
    ) -> tuple[Mask, float]:
        """Answer clicks, a box or an earlier mask with a mask and its judged quality."""

    def propagate(self, mask: Mask, image: str, structure: str = "") -> tuple[Mask, float]:
        """Find on the image last set what a mask on a neighbouring one (its key) is of; judge it.

        `structure` is its preferred name: of an image from before a restart nothing else is known.
        """

    def judge(self, mask: Mask, structure: str) -> float | None:
        """Return how far to trust a mask of a structure on the image last set, whoever drew it: 0…1.

        None where the model cannot tell.
        """

    def change_device(self, device: str) -> None:
        """Move to "auto", "cuda", "mps" or "cpu"; SettingsError where there is no such device."""

    def describe(self) -> dict[str, str]:
        """Return preset, device, precision and adapter in words."""
