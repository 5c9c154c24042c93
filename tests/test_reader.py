"""The manifest, the reader and the sample."""

import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from npe2 import PluginManager, PluginManifest

from napari_mediround import io
from napari_mediround.errors import SeriesChoiceError, UnreadableFileError
from napari_mediround.io import read_studies
from napari_mediround.widget.layers.layer_geometry import STUDY_KEY
from napari_mediround.widget.plugin import layer_reader, sample

MANIFEST = Path(layer_reader.__file__).parents[2] / "napari.yaml"


@pytest.fixture
def nifti(tmp_path):
    """Write a NIfTI of 5 axial planes; its values are the distance from the patient's right, in pixels."""
    image = sitk.GetImageFromArray(np.broadcast_to(np.arange(8, dtype=np.int16), (5, 6, 8)).copy())
    image.SetSpacing((0.5, 0.7, 3.0))
    path = tmp_path / "image.nii.gz"
    sitk.WriteImage(image, str(path))
    return path


def test_a_file_becomes_one_image_layer_in_display_order(nifti):
    ((data, options, kind),) = layer_reader.get_reader(str(nifti))(str(nifti))
    assert kind == "image"
    assert data.shape == (5, 6, 8)
    assert data[0, 0].tolist() == list(range(8)), "patient right on the left"
    assert options["scale"] == pytest.approx((3.0, 0.7, 0.5))
    assert options["metadata"][STUDY_KEY].pixels is data


@pytest.mark.parametrize("name", ["a.dcm", "a.NII", "a.nii.gz", "a.nrrd", "a.mha", "A.MHD"])
def test_the_formats_of_the_manifest_are_read(name):
    assert layer_reader.get_reader(name) is layer_reader.read_layers
    assert layer_reader.get_reader([name]) is layer_reader.read_layers


def test_other_files_and_stacks_are_left_to_other_readers(tmp_path):
    assert layer_reader.get_reader("a.txt") is None
    assert layer_reader.get_reader(["a.dcm", "b.dcm"]) is None
    assert layer_reader.get_reader(tmp_path) is layer_reader.read_layers


def test_a_damaged_file_is_refused_with_its_name(tmp_path):
    path = tmp_path / "broken.nii.gz"
    path.write_bytes(b"no image")
    with pytest.raises(UnreadableFileError, match="broken"):
        layer_reader.read_layers(path)


@pytest.mark.parametrize(("chosen", "read"), [("2.2", ["2.2"]), (None, [])])
def test_of_several_series_the_user_chooses_one(monkeypatch, nifti, chosen, read):
    asked, study = [], layer_reader.read_study(nifti)

    def read_study(path, series=None):
        if series is None:
            raise SeriesChoiceError("two series", ("1.1", "2.2"))
        asked.append(series)
        return study

    monkeypatch.setattr(layer_reader, "read_study", read_study)
    result = layer_reader.read_layers("folder", choose=lambda several: chosen and several.choices[1])
    assert asked == read
    assert result[0][0] is (study.pixels if read else None)


def test_a_series_is_asked_for_in_a_dialog(qtbot, monkeypatch):
    series = tuple(SimpleNamespace(uid=str(n)) for n in (10, 200))
    monkeypatch.setattr("napari_mediround.widget.qt.series_dialog.ask_series", lambda choices: choices[1].uid)
    assert layer_reader.choose_one(SeriesChoiceError("two", series)) == "200"


def test_a_missing_sample_is_an_error_in_words(monkeypatch, tmp_path):
    monkeypatch.setattr(sample, "files", lambda package: tmp_path)
    with pytest.raises(UnreadableFileError, match="Install"):
        sample.open_ct_abdomen()


def test_the_manifest_is_valid_and_all_it_names_can_be_called():
    manifest = PluginManifest.from_file(MANIFEST)
    for command in manifest.contributions.commands:
        module, name = command.python_name.split(":")
        assert callable(getattr(import_module(module), name)), command.id
    commands = [item.command for item in manifest.contributions.menus["napari/layers/segment"]]
    assert commands[0] == manifest.contributions.widgets[0].command
    assert set(commands) <= {command.id for command in manifest.contributions.commands}


def test_files_and_folders_find_the_reader(tmp_path):
    manager = PluginManager()
    manager.register(PluginManifest.from_file(MANIFEST))
    for path in ("x.nii.gz", "x.dcm", str(tmp_path)):
        assert [r.command for r in manager.iter_compatible_readers(path)] == ["napari-mediround.read"]


def test_discovering_the_plugin_and_its_dock_imports_no_torch():
    code = (
        "import sys; from napari_mediround.widget.chat import chat_dock;"
        "from napari_mediround.widget.plugin import layer_reader, sample;"
        "bad = {'torch', 'transformers', 'peft'} & set(sys.modules); sys.exit(str(bad) if bad else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=os.environ, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture
def phases(tmp_path):
    """Write a NIfTI of three volumes of 5 planes, each of its number."""
    image = nibabel.Nifti1Image(np.broadcast_to(np.arange(3, dtype=np.int16), (8, 6, 5, 3)).copy(), np.eye(4))
    nibabel.save(image, tmp_path / "phases.nii.gz")
    return tmp_path / "phases.nii.gz"


def test_of_several_volumes_the_user_chooses_one(phases, qtbot, monkeypatch):
    told = []

    def get_int(parent, title, question, *limits):
        told.append((question, limits))
        return 2, len(told) == 1

    monkeypatch.setattr("qtpy.QtWidgets.QInputDialog.getInt", get_int)
    ((data, options, _),) = layer_reader.read_layers(phases)
    assert set(np.unique(data)) == {2}
    assert options["name"].endswith("volume 2")
    assert "3 volumes" in told[0][0]
    assert told[0][1] == (0, 0, 2)
    assert layer_reader.read_layers(phases) == [(None,)]


def test_every_volume_can_be_found_again(phases):
    assert [int(study.pixels.max()) for study in read_studies(phases)] == [0, 1, 2]


def test_a_series_that_cannot_be_read_hides_no_other(monkeypatch, nifti):
    study = io.read_study(nifti)

    def read_study(path, view=None, series=None):
        if series is None:
            raise SeriesChoiceError("two", (SimpleNamespace(uid="bad"), SimpleNamespace(uid="good")))
        if series == "bad":
            raise UnreadableFileError(path, "a slice is missing", "Copy it.")
        return study

    monkeypatch.setattr(io, "read_study", read_study)
    assert list(read_studies("folder")) == [study]
    study = None
    monkeypatch.setattr(io, "read_study", lambda path, **wanted: read_study(path, series="bad"))
    with pytest.raises(UnreadableFileError, match="a slice is missing"):
        list(read_studies("folder"))
