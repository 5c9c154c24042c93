"""Prototypes: SEG vectors of known structures, as plain questions give them. Coarse masks come from them."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Prototypes:
    """Known structures with the SEG vectors of their coarse masks.

    Parameters
    ----------
    names : tuple of str
        Preferred names, N of them.
    vectors : Tensor
        (N, C) SEG vectors, as plain questions give them.
    """

    names: tuple[str, ...]
    vectors: Tensor

    def vector(self, name: str) -> Tensor | None:
        """Return the vector (C,) of a structure by its preferred name; None if there is none."""
        return self.vectors[self.names.index(name)] if name in self.names else None
