"""The window that asks for a series says what each one is."""

import pytest
from qtpy.QtWidgets import QDialogButtonBox

from napari_mediround.io.dicom.instances import SeriesInfo
from napari_mediround.widget.qt.series_dialog import SeriesDialog

CHOICES = (
    SeriesInfo("1.2.3", "CT", "CT axial 512x512x120", (), (120, 512, 512), "Abdomen portal venous 3 mm"),
    SeriesInfo("1.2.4", "CT", "CT coronal 512x512x80", (), (80, 512, 512)),
)


@pytest.fixture
def dialog(qtbot):
    dialog = SeriesDialog(CHOICES)
    qtbot.addWidget(dialog)
    return dialog


def test_each_series_has_its_description(dialog):
    row = dialog.table.topLevelItem(0)
    assert [row.text(k) for k in (1, 2)] == ["Abdomen portal venous 3 mm", "CT axial 512x512x120"]
    assert dialog.table.topLevelItem(1).text(1) == "–"


def test_the_chosen_one_is_opened(dialog):
    dialog.table.setCurrentItem(dialog.table.topLevelItem(1))
    dialog.findChild(QDialogButtonBox).button(QDialogButtonBox.StandardButton.Open).click()
    assert (dialog.result(), dialog.uid) == (1, "1.2.4")
