"""Where a model runs, in which precision, and what gives way if memory is short. Knows no model."""

from __future__ import annotations

import contextlib
import gc
import logging
from collections.abc import Callable
from typing import TypeVar

import torch

from napari_mediround.errors import SettingsError

LOG = logging.getLogger(__name__)
KINDS = ("cuda", "mps", "cpu")
MASKS_AT_ONCE = 8
"""Masks decoded in one batch while there is memory."""
T = TypeVar("T")


def available_devices() -> list[str]:
    """Return the devices of this machine, best first, out of "cuda", "mps" and "cpu"."""
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    return [kind for kind in KINDS if there[kind]]


def choose_device(wish: str = "auto") -> torch.device:
    """Return the requested device; for "auto" the best one of this machine.

    Raises
    ------
    SettingsError
        When the machine has no such device.
    """
    there = available_devices()
    if wish == "auto":
        return torch.device(there[0])
    if wish.partition(":")[0] not in there:
        raise SettingsError(f"This machine has no device {wish!r}. Choose auto or one of {', '.join(there)}.")
    return torch.device(wish)


def default_dtype(device: torch.device) -> torch.dtype:
    """Return bfloat16 for CUDA devices that compute in bfloat16, else float32."""
    fast = device.type == "cuda" and torch.cuda.is_bf16_supported()
    return torch.bfloat16 if fast else torch.float32


def precision(device: torch.device, dtype: torch.dtype) -> contextlib.AbstractContextManager:
    """Return a context in which torch computes in `dtype` on `device`."""
    if dtype == torch.float32:
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error means that the memory of the device is full."""
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or (
        isinstance(error, RuntimeError) and "out of memory" in str(error).lower()
    )


def release_memory() -> None:
    """Return unused memory to the device."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()


def describe_device(device: torch.device) -> str:
    """Return the device in words ("NVIDIA H200", "CPU, 2 threads")."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU, {torch.get_num_threads()} threads" if device.type == "cpu" else "Apple GPU"


class Runner:
    """Runs a model's steps on a device. A step for which memory is short runs again with less.

    It tries one mask at a time, then bfloat16, then the CPU.

    Parameters
    ----------
    device : torch.device
    move : callable
        Moves the model and all that belongs to it to another device.
    forget : callable
        Drops what a failed step may have left half done.

    Attributes
    ----------
    device : torch.device
    dtype : torch.dtype
        The precision.
    masks_at_once : int
        Masks decoded in one batch.
    notes : list of str
        What gave way since the last answer.
    """

    def __init__(
        self, device: torch.device, move: Callable[[torch.device], None], forget: Callable[[], None]
    ) -> None:
        self._move, self._forget = move, forget
        self.masks_at_once, self.notes = MASKS_AT_ONCE, []
        self.use(device)

    def use(self, device: torch.device) -> None:
        """Move to a device and choose its precision."""
        self._move(device)
        self.device, self.dtype = device, default_dtype(device)

    def run(self, step: Callable[[], T]) -> T:
        """Run a step without gradients and return its result."""
        while True:
            try:
                with torch.no_grad(), precision(self.device, self.dtype):
                    return step()
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error) or not self._retreat():
                    self._forget()
                    raise
            self._forget()
            release_memory()

    def _retreat(self) -> bool:
        """Take the next step that needs less memory; return False if there is none."""
        name = describe_device(self.device)
        if self.masks_at_once > 1:
            self.masks_at_once = 1
            note = f"{name} ran out of memory: masks are decoded one by one."
        elif self.device.type == "cuda" and self.dtype == torch.float32:
            self.dtype = torch.bfloat16
            note = f"{name} ran out of memory: computing in bfloat16."
        elif self.device.type != "cpu":
            self.use(torch.device("cpu"))
            note = f"{name} ran out of memory: computing on the CPU."
        else:
            return False
        LOG.warning(note)
        self.notes.append(note)
        return True
