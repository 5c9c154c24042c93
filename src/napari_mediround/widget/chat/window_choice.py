"""Which grey window the next question is asked in: chosen by the model, shown in the viewer, or named."""

from __future__ import annotations

from napari_mediround.domain.study import Study
from napari_mediround.domain.windows import WINDOWS
from napari_mediround.widget.chat.desk import Workplace
from napari_mediround.widget.layers.layer_geometry import STUDY_KEY, contrast_limits

AUTOMATIC, AS_SHOWN = "automatic", "as shown in the viewer"


class WindowChoice:
    """The window of the image at hand.

    Parameters
    ----------
    place : Workplace
        Where things are done.
    """

    def __init__(self, place: Workplace) -> None:
        self._place, self._chosen = place, 0

    def begin(self) -> None:
        """Offer the windows of another image, the automatic one first."""
        self._chosen = 0
        self._place.view.show_windows(self.names(), 0)

    def names(self) -> tuple[str, ...]:
        """Return the windows that the image at hand can be seen in; none for colours."""
        layer = self._place.layer()
        if layer is None or layer.rgb:
            return ()
        study = layer.metadata.get(STUDY_KEY)
        presets = tuple(WINDOWS) if isinstance(study, Study) and study.modality == "CT" else ()
        return (AUTOMATIC, AS_SHOWN, *presets)

    def choose(self, index: int) -> None:
        """Take a window of `names`; a named one sets the viewer too."""
        self._chosen = index
        layer, name = self._place.layer(), self.names()[index]
        if layer is not None and name in WINDOWS:
            layer.contrast_limits = contrast_limits(layer.metadata[STUDY_KEY], name)

    def take(self, index: int) -> None:
        """Choose a window of `names` and show that in the list."""
        self.choose(index)
        self._place.view.show_windows(self.names(), index)

    def wanted(self) -> str | tuple[float, float] | None:
        """Return the window to ask in: a name, (level, width), or None where the question decides."""
        names = self.names()
        name = names[self._chosen] if names else AUTOMATIC
        if name == AS_SHOWN:
            low, high = (float(limit) for limit in self._place.layer().contrast_limits)
            return (low + high) / 2, high - low
        return None if name == AUTOMATIC else name
