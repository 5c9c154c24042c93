"""A predictor that a learned adapter can be attached to and taken off. Knows no project and no Qt."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from napari_mediround.inference.device import choose_device
from napari_mediround.inference.predictor import Predictor
from napari_mediround.model.adapter import Adapter, attach_folder, is_adapter
from napari_mediround.model.build import build_mediround
from napari_mediround.model.features import ImageFeatures
from napari_mediround.model.llama import AnsweringLanguage


class AdaptedPredictor(Predictor):
    """A `Predictor` with an adapter beside its weights, or none.

    Parameters are those of `Predictor`.
    """

    _adapter: Adapter | None = None
    _adapter_name = ""

    @classmethod
    def from_preset(
        cls,
        preset: str = "lite",
        device: str = "auto",
        adapter: Path | None = None,
        cache_dir: Path | None = None,
        weights_dir: Path | None = None,
        seed: int = 0,
    ):
        """Build a model from a preset, on the CPU one that only answers until more is asked of it.

        See `Predictor.from_preset` for the other parameters and errors.

        Parameters
        ----------
        preset, device : str
            As there.
        adapter : Path, optional
            Folder of an adapter learned from corrections, or of trained MediRound weights instead of the
            bundled ones.

        Raises
        ------
        AdapterError
            When the adapter is damaged or was learned on other weights.
        """
        learned = adapter is not None and is_adapter(adapter)
        trained, answering = None if learned else adapter, choose_device(device).type == "cpu"
        model = build_mediround(preset, seed, trained, weights_dir=weights_dir, answering=answering)
        predictor = cls(model, device, cache_dir, preset)
        if learned:
            predictor.use_adapter(adapter)
        return predictor

    def _complete(self) -> None:
        """Have a language model that learns and takes adapters: seconds, where only answering was loaded."""
        if isinstance(self.model.language, AnsweringLanguage):
            self.model.language = self.model.language.complete()
            self._reader.forget()

    def _move(self, device: torch.device) -> None:
        if device.type != "cpu":
            self._complete()
        super()._move(device)

    def describe(self) -> dict[str, str]:
        """Return preset, device, precision and, where one is used, the adapter's name and hash."""
        if self._adapter is None:
            return super().describe()
        return super().describe() | {"adapter": self._adapter_name, "adapter_sha256": self._adapter.sha256}

    def use_adapter(self, folder: Path | None) -> None:
        """Use a learned adapter from now on, or none. Cached embeddings stay valid.

        Raises
        ------
        AdapterError
            When the adapter is damaged or was learned on other weights; then no adapter is used.
        """
        with self._lock:
            if self._adapter is not None:
                self._adapter.detach()
            self._adapter, self._adapter_name = None, ""
            self._reader.forget()
            if folder is not None:
                self._complete()
                self._adapter, self._adapter_name = attach_folder(self.model, folder), Path(folder).name

    def copy(self, cache_dir: Path | None = None) -> AdaptedPredictor:
        """Return a predictor without adapter that shares this one's weights and embeddings.

        After that each of the two may answer, learn, use an adapter or move to another device on its own.

        Parameters
        ----------
        cache_dir : Path, optional
            Folder in which the copy keeps embeddings between runs, if this predictor has none.
        """
        with self._lock:
            self._complete()
            tensors = [*self.model.parameters(), *self.model.buffers()]
            shared = {id(tensor): _alias(tensor) for tensor in tensors}
            tokenizer = self.model.language.tokenizer  # never changed; to copy it stops every other thread
            shared[id(tokenizer)] = tokenizer
            model, adapter = copy.deepcopy((self.model, self._adapter), shared)
            if adapter is not None:
                adapter.detach()
            other = AdaptedPredictor(model, str(self.device), None, self.preset)
            other._store = self._store.copy(cache_dir)
            return other

    def encode(self, image: NDArray[np.uint8]) -> ImageFeatures:
        """Return the features of a plane, uint8 (H, W, 3). The plane set by `set_image` does not change."""
        with self._lock:
            current = self._current, self._view, self._modality
            key = self.set_image(image)
            self._current, self._view, self._modality = current
            return self._store.require(key)


def _alias(tensor: torch.Tensor) -> torch.Tensor:
    """Return another tensor on the same memory; a parameter stays one, frozen."""
    if isinstance(tensor, torch.nn.Parameter):
        return torch.nn.Parameter(tensor.data, requires_grad=False)
    return tensor.detach()
