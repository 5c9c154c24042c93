"""A controller at work without a window."""

from __future__ import annotations

from fakes import FakeSegmenter, FakeView, FakeWorker, make_volume
from napari.components import ViewerModel
from napari.layers import Labels

from napari_mediround.widget.chat.controller import ChatController
from napari_mediround.widget.chat.view import Reply
from napari_mediround.widget.layers import layer_geometry
from napari_mediround.widget.lazy_model import LazySegmenter


class Desk:
    """A controller between a viewer without a window, a fake view and a fake worker."""

    def __init__(self, build=FakeSegmenter):
        self.viewer, self.view, self.worker = ViewerModel(), FakeView(), FakeWorker()
        self.segmenter = LazySegmenter(build)
        self.controller = ChatController(self.viewer, self.view, self.worker, self.segmenter)
        self.worker.run()

    def open(self, study=None):
        """Open a study in the viewer."""
        data, options, _ = layer_geometry.study_to_layer(study or make_volume())
        layer = self.viewer.add_image(data, **options)
        self.worker.run()
        return layer

    @property
    def session(self):
        """Return the session of the image at hand."""
        return self.controller._place.case.session

    def ask(self, text):
        """Ask and let the worker work; return the last entry of the chat."""
        self.view.question_asked.emit(text)
        self.worker.run()
        return self.view.entries[-1]

    def press(self, *keys):
        """Press keys of the dock and let the worker work."""
        for key in keys:
            self.view.key_pressed.emit(key)
            self.worker.run()

    @property
    def replies(self):
        """Return the replies of the chat."""
        return [entry for entry in self.view.entries if isinstance(entry, Reply)]

    @property
    def mask_layer(self):
        """Return the session's Labels layer."""
        (layer,) = [layer for layer in self.labels if layer.name.endswith(" masks")]
        return layer

    @property
    def labels(self):
        """Return the Labels layers."""
        return [layer for layer in self.viewer.layers if isinstance(layer, Labels)]
