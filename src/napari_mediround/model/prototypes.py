"""SEG vectors of known structures, as plain questions give them; coarse masks are found by them."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Landmarks:
    """Structures with the vectors that the first look finds them by.

    Parameters
    ----------
    names : tuple of str
        Preferred names, N of them.
    vectors : Tensor
        (N, C): SEG vectors, as plain questions give them.
    """

    names: tuple[str, ...]
    vectors: Tensor

    def vector(self, name: str) -> Tensor | None:
        """Return a structure's vector (C,), by its preferred name; None where there is none."""
        return self.vectors[self.names.index(name)] if name in self.names else None
