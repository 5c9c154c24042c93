"""Where a model runs and in which precision. Knows no model."""

from __future__ import annotations

import contextlib
import gc

import torch

from napari_mediround.errors import SettingsError

KINDS = ("cuda", "mps", "cpu")


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
        raise SettingsError(f"There is no device {wish!r} here. Choose auto or one of {', '.join(there)}.")
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
