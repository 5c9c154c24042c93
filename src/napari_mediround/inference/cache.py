"""Encoded images by their content, in memory and on disk, and the origins of masks. Knows no dialogue.

On disk lie embeddings under hashed names; no pixels and no file names.
"""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from napari_mediround.domain.mask import Mask
from napari_mediround.domain.windows import hash_image as hash_image
from napari_mediround.errors import MediRoundError
from napari_mediround.files import write_whole
from napari_mediround.model.crop import Crop
from napari_mediround.model.features import ImageFeatures


def hash_weights(module: nn.Module) -> str:
    """Return 16 hex digits that change with any weight of `module`."""
    digest = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


@dataclass(frozen=True)
class Origin:
    """The SEG vector and the logits of a decoded mask, from which a fix goes on.

    Parameters
    ----------
    vector : Tensor or None
        (1, C) SEG vector; None for a mask that no question asked for.
    logits : Tensor
        (1, 1, 4h, 4w) mask logits of the decoder.
    frame : Crop
        The part of the plane that these are on.
    name : str
        Preferred name of the structure; "" where no question was asked.
    """

    vector: Tensor | None
    logits: Tensor
    frame: Crop
    name: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """The name, if there is one."""
        return (self.name,) if self.name else ()

    def to(self, device: torch.device) -> Origin:
        """Return it on another device."""
        vector = None if self.vector is None else self.vector.to(device)
        return replace(self, vector=vector, logits=self.logits.to(device))


class Origins(dict[tuple[str, Mask], Origin]):
    """The origins of the latest masks, by (image key, mask); one takes 256 KB in the preset `lite`."""

    most = 512

    def keep(self, image: str, mask: Mask, origin: Origin) -> None:
        """Keep the origin of a mask on an image, and drop the oldest origin."""
        self[image, mask] = origin
        while len(self) > self.most:
            del self[next(iter(self))]

    def to(self, device: torch.device) -> Origins:
        """Return them on another device."""
        return Origins({key: origin.to(device) for key, origin in self.items()})


class FeatureStore:
    """Encoded images of one encoder. The least recently used ones are dropped.

    Parameters
    ----------
    encoder : str
        Hash of the encoder's weights, so that embeddings of another encoder are not found.
    folder : Path, optional
        Where embeddings are kept between runs; None keeps them in memory only.
    most : int
        Images kept in memory.
    disk_bytes : int
        Most bytes kept in `folder`.
    """

    def __init__(
        self, encoder: str, folder: Path | None = None, most: int = 64, disk_bytes: int = 2 << 30
    ) -> None:
        self._encoder, self._folder, self._most, self._disk_bytes = encoder, folder, most, disk_bytes
        self._memory: OrderedDict[str, ImageFeatures] = OrderedDict()
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)

    def get(self, key: str, image: NDArray[np.uint8] | None = None) -> ImageFeatures | None:
        """Return the features of an image, or None.

        Parameters
        ----------
        key : str
            From `hash_image`, or of a view.
        image : ndarray, optional
            uint8 (H, W, 3), needed to take features from disk.
        """
        if key in self._memory:
            self._memory.move_to_end(key)
            return self._memory[key]
        path = self._path(key)
        if image is None or path is None or not path.exists():
            return None
        try:
            with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
                kept = (torch.from_numpy(arrays[n]) for n in ("embedding", "tokens"))
                top, bottom, left, right = arrays["frame"].tolist()
                aspect = float(arrays["aspect"]) if "aspect" in arrays else 1.0  # older files know none
                frame = Crop(image.shape[:2], slice(top, bottom), slice(left, right), aspect)
                features = ImageFeatures(*kept, image, frame)
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            path.unlink(missing_ok=True)  # a damaged entry is only a slower start
            return None
        os.utime(path)
        self._remember(key, features)
        return features

    def require(self, key: str) -> ImageFeatures:
        """Return the features of an image that must be in memory.

        Raises
        ------
        MediRoundError
            When they are not, or `key` is "": no image was set yet.
        """
        features = self.get(key)
        if features is None:
            raise MediRoundError(
                "That image is no longer in memory. Show its plane and ask about it again."
                if key
                else "No image is open. Open an image and choose its layer."
            )
        return features

    def get_or_encode(
        self,
        key: str,
        image: NDArray[np.uint8],
        encode: Callable[[NDArray[np.uint8]], ImageFeatures],
        aspect: float | None = None,
    ) -> ImageFeatures:
        """Return the features of an image or of a view of it, from the cache or encoded now.

        Parameters
        ----------
        key : str
            From `hash_image`, or of a view. The key becomes a file name.
        image : ndarray
            uint8 (H, W, 3), the image to encode.
        encode : callable
            Takes it and returns the features.
        aspect : float, optional
            Height over width of a pixel: what was kept of the same picture in other proportions is encoded
            anew. Whatever is kept will do where it is not given.
        """
        kept = self.get(key, image)
        if kept is None or aspect not in (None, kept.frame.aspect):
            self.put(key, encode(image))
        return self.get(key)

    def put(self, key: str, features: ImageFeatures) -> None:
        """Keep the features of an image."""
        self._remember(key, features)
        path = self._path(key)
        if path is None:
            return
        rows, columns = features.frame.rows, features.frame.columns
        arrays = {
            "embedding": features.embedding.float().cpu().numpy(),
            "tokens": features.tokens.cpu().numpy(),
            "frame": np.array([rows.start, rows.stop, columns.start, columns.stop]),
            "aspect": np.array(features.frame.aspect),
        }
        write_whole(path, lambda part: _save_arrays(part, arrays))
        self._trim()

    def copy(self, folder: Path | None = None) -> FeatureStore:
        """Return a store with the same images in memory; on disk in this store's folder, else in `folder`."""
        other = FeatureStore(self._encoder, self._folder or folder, self._most, self._disk_bytes)
        other._memory = self._memory.copy()
        return other

    def clear(self) -> None:
        """Drop the images in memory; files on disk stay."""
        self._memory.clear()

    def _remember(self, key: str, features: ImageFeatures) -> None:
        self._memory[key] = features
        self._memory.move_to_end(key)
        while len(self._memory) > self._most:
            self._memory.popitem(last=False)

    def _path(self, key: str) -> Path | None:
        return self._folder and self._folder / f"{self._encoder}-{key}.npz"

    def _trim(self) -> None:
        entries = sorted((p.stat().st_mtime, p.stat().st_size, p) for p in self._folder.glob("*.npz"))
        total = sum(size for _, size, _ in entries)
        for _, size, path in entries:
            if total <= self._disk_bytes:
                return
            path.unlink(missing_ok=True)
            total -= size


def _save_arrays(path: Path, arrays: dict[str, NDArray]) -> None:
    """Save arrays under exactly this name; `numpy.savez` would add an ending."""
    with open(path, "wb") as file:
        np.savez(file, **arrays)
