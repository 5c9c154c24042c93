"""The doors for masks from elsewhere: a button with a menu, and files that are dropped. Decides nothing."""

from __future__ import annotations

from pathlib import Path

from psygnal import Signal
from qtpy.QtCore import QMimeData
from qtpy.QtGui import QDragEnterEvent, QDropEvent
from qtpy.QtWidgets import QFileDialog, QMenu, QPushButton

FILES = "Masks (*.nii *.nii.gz *.nrrd *.nhdr *.mha *.mhd *.mgz *.dcm *.tif *.tiff *.png);;All files (*)"


class MasksButton(QPushButton):
    """Opens a menu: masks of a file, of a folder, of the selected layer."""

    masks_given = Signal(object)
    layer_given = Signal()

    def __init__(self) -> None:
        super().__init__("Masks …")
        self.setToolTip(
            "Take masks that are there already: a label map, .seg.nrrd, DICOM-SEG, RTSTRUCT, a MONAI Label "
            "folder, or a layer. A file can also be dropped on this dock."
        )
        menu = QMenu(self)
        menu.addAction("From a file …", self._choose_files)
        menu.addAction("From a folder …", self._choose_folder)
        menu.addAction("From the selected layer", lambda: self.layer_given.emit())
        self.setMenu(menu)

    def _choose_files(self) -> None:
        paths, _ = QFileDialog.getOpenFileNames(self, "Take masks from a file", "", FILES)
        if paths:
            self.masks_given.emit(tuple(map(Path, paths)))

    def _choose_folder(self) -> None:
        title = "Take masks from a folder: DICOM or MONAI Label"
        if folder := QFileDialog.getExistingDirectory(self, title):
            self.masks_given.emit((Path(folder),))


class MaskDrop:
    """A widget that takes files which are dropped on it; its `masks_given` says which."""

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        """Take files of this machine only."""
        if files_of(event.mimeData()):
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        """Hand the files on."""
        if paths := files_of(event.mimeData()):
            event.acceptProposedAction()
            self.masks_given.emit(paths)


def files_of(data: QMimeData) -> tuple[Path, ...]:
    """Return the files and folders of this machine that are dragged."""
    return tuple(Path(url.toLocalFile()) for url in data.urls() if url.isLocalFile())
