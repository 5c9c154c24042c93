"""The bundled case behind napari's File → Open Sample."""

from __future__ import annotations

from importlib.resources import as_file, files

from napari_mediround.errors import UnreadableFileError
from napari_mediround.widget.layers.layer_geometry import STUDY_KEY
from napari_mediround.widget.plugin.layer_reader import read_layers

CT_ABDOMEN = ("sample", "ct_abdomen", "image.nii.gz")


def open_ct_abdomen() -> list[tuple]:
    """Return the sample CT of the upper abdomen as napari layer data.

    Raises
    ------
    UnreadableFileError
        When the installation lacks it.
    """
    resource = files("napari_mediround.resources").joinpath(*CT_ABDOMEN)
    if not resource.is_file():
        raise UnreadableFileError(
            "/".join(CT_ABDOMEN), "the sample is not in this installation", "Install napari-mediround again."
        )
    with as_file(resource) as path:
        ((pixels, options, kind),) = read_layers(path)
    return [(pixels, options | {"name": f"sample · {options['metadata'][STUDY_KEY].name}"}, kind)]
