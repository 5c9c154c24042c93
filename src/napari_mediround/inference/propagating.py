"""How a mask comes from one plane to the next. Part of `Predictor`."""

from __future__ import annotations

from napari_mediround.domain.mask import Mask
from napari_mediround.inference.refinement import origin_of_name, propagate_mask


class Propagating:
    """What a `Predictor` does with the mask of a neighbouring plane."""

    def propagate(self, mask: Mask, image: str, structure: str = "") -> tuple[Mask, float]:
        """Propagate a neighbouring plane's mask to the current plane; empty if the structure has ended.

        Returns and raises as `Predictor.refine`.

        Parameters
        ----------
        mask : Mask
            Mask on the neighbouring plane, not empty.
        image, structure : str
            Key of that plane; preferred name, for a mask whose words are no longer in memory.
        """
        with self._lock:
            features, origin = self._store.require(self._current), self._origins.get((image, mask))
            origin = origin or origin_of_name(self.model, features, self.anatomy.normalise(structure))
            before = mask, origin
            decoded = self.runner.run(lambda: propagate_mask(self.model, self._looked_at(features), *before))
            return self._keep(features, decoded, origin, mask)
