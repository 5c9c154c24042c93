"""What a question is about, as Qt widgets: project, image, volume, plane, window. Decides nothing."""

from __future__ import annotations

from collections.abc import Sequence

from psygnal import Signal
from qtpy.QtCore import QSignalBlocker
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QPushButton,
    QSizePolicy,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)
from superqt import QElidingLabel

from napari_mediround.widget.qt.mask_doors import MasksButton
from napari_mediround.widget.qt.relay import relay
from napari_mediround.widget.qt.wrapping import breakable, make_label, make_short_label, plain_tip

PLANE_WIDTH = 84
"""Pixels of four digits and two arrows: beside it the row says how the plane lies."""


class Choices(QWidget):
    """The form at the top of the dock."""

    project_chosen = Signal(str)
    image_chosen = Signal(int)
    volume_chosen = Signal(int)
    plane_chosen = Signal(int)
    follow_chosen = Signal(bool)
    modality_chosen = Signal(int)
    window_chosen = Signal(int)
    learning_asked = Signal()
    masks_given = Signal(object)
    layer_given = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._images, self._modalities, self._windows = QComboBox(), QComboBox(), QComboBox()
        for box in (self._images, self._modalities, self._windows):
            box.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self._images.setPlaceholderText("choose an image")
        self._images.activated.connect(self.image_chosen.emit)
        self._modalities.activated.connect(self.modality_chosen.emit)
        self._modalities.setToolTip("What to take the image for: its file does not say what it is")
        self._windows.activated.connect(self.window_chosen.emit)
        self._hint = make_label("", "low")
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        self._form = QFormLayout()
        column.addLayout(self._form)
        column.addWidget(self._hint)  # in a form a wrapped label is cut
        self._form.setContentsMargins(0, 0, 0, 0)
        self._form.setSpacing(4)
        self._form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        self._form.addRow("Project", self._make_project())
        self._form.addRow("Image", self._make_images())
        self._form.addRow("Volume", self._make_volume())
        self._form.addRow("Plane", self._make_plane())
        self._form.addRow("Modality", self._modalities)
        self._form.addRow("Window", self._windows)
        self.show_modalities((), 0)
        self.show_volume(0, 1, "")

    def _make_project(self) -> QHBoxLayout:
        self._project = QElidingLabel()
        self._project.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        button = QPushButton("Open …")
        button.setToolTip("Choose a project folder, new or old: images, rounds, masks and chat come back")
        button.clicked.connect(self._on_open)
        learn = QPushButton("Learn …")
        learn.setToolTip("Let the model learn from this project's corrections; choose what it answers with")
        learn.clicked.connect(lambda: self.learning_asked.emit())
        row = QHBoxLayout()
        row.addWidget(self._project, stretch=1)
        row.addWidget(button)
        row.addWidget(learn)
        return row

    def _make_images(self) -> QHBoxLayout:
        masks = MasksButton()
        masks.masks_given.connect(relay(self.masks_given))
        masks.layer_given.connect(relay(self.layer_given))
        row = QHBoxLayout()
        row.addWidget(self._images, stretch=1)
        row.addWidget(masks)
        return row

    def _make_volume(self) -> QHBoxLayout:
        self._volume, self._volume_name = QSpinBox(), make_short_label("")
        self._volume.setKeyboardTracking(False)
        self._volume.setToolTip("The image has several volumes; each has its own conversation")
        self._volume.valueChanged.connect(self.volume_chosen.emit)
        row = QHBoxLayout()
        row.addWidget(self._volume)
        row.addWidget(self._volume_name, stretch=1)
        return row

    def _make_plane(self) -> QHBoxLayout:
        self._plane, self._plane_name = QSpinBox(), QElidingLabel()
        self._plane_name.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self._plane.setKeyboardTracking(False)
        self._plane.setFixedWidth(PLANE_WIDTH)
        self._plane.valueChanged.connect(self.plane_chosen.emit)
        self._follow = QCheckBox("follow")
        self._follow.setToolTip("The plane follows the viewer's slider, and the slider this number")
        self._follow.setChecked(True)
        self._follow.toggled.connect(self.follow_chosen.emit)
        row = QHBoxLayout()
        row.addWidget(self._plane)
        row.addWidget(self._plane_name, stretch=1)
        row.addWidget(self._follow)
        return row

    def _on_open(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Open a project folder, or make a new one")
        if folder:
            self.project_chosen.emit(folder)

    def show_project(self, name: str, hint: str) -> None:
        """See `ChatView`."""
        self._project.setText(name)
        self._project.setToolTip(plain_tip(hint))

    def show_images(self, names: Sequence[str], current: int) -> None:
        """See `ChatView`."""
        _fill(self._images, names, current)

    def show_volume(self, volume: int, volumes: int, hint: str) -> None:
        """See `ChatView`."""
        with QSignalBlocker(self._volume):
            self._volume.setRange(0, max(volumes - 1, 0))
            self._volume.setValue(volume)
        self._volume_name.setText(f"/ {volumes - 1} {hint}")
        self._form.setRowVisible(2, volumes > 1)

    def show_plane(self, plane: int, planes: int, name: str, hint: str) -> None:
        """See `ChatView`."""
        with QSignalBlocker(self._plane):
            self._plane.setRange(0, max(planes - 1, 0))
            self._plane.setValue(plane)
        self._plane.setEnabled(planes > 1)
        words = f"/ {planes - 1} {name}" if planes > 1 else name
        self._plane_name.setText(words)
        self._plane_name.setToolTip(plain_tip(words))
        self._hint.setText(breakable(hint))
        self._hint.setVisible(bool(hint))

    def show_modalities(self, names: Sequence[str], current: int) -> None:
        """See `ChatView`."""
        _fill(self._modalities, names, current)
        self._form.setRowVisible(self._modalities, bool(names))

    def show_windows(self, names: Sequence[str], current: int) -> None:
        """See `ChatView`."""
        _fill(self._windows, [name.replace("_", " ") for name in names], current)
        self._form.setRowVisible(self._windows, bool(names))


def _fill(box: QComboBox, names: Sequence[str], current: int) -> None:
    with QSignalBlocker(box):
        box.clear()
        box.addItems(list(names))
        box.setCurrentIndex(current)
