"""Labelled volumes of every kind for tests, DICOM series to draw them on, and what other libraries read."""

from __future__ import annotations

from pathlib import Path

import highdicom
import nibabel
import nrrd
import numpy as np
import SimpleITK
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid
from pydicom.valuerep import DSfloat
from test_geometry import geometries

from napari_mediround.domain.geometry import Geometry
from napari_mediround.domain.segments import ORIGINS, LabelledVolume, Segment
from napari_mediround.io.volumes.volume import ras_to_lps

CT = "1.2.840.10008.5.1.4.1.1.2"
SERIES, STUDY, FRAME = "1.2.4711.4", "1.2.4711.3", "1.2.4711.9"
NAMES = ("liver", "left kidney", "Größe µ", "a|b:c~d^e", "brain tumour", "x" * 64)


@st.composite
def volumes(draw, overlapping: bool = False) -> LabelledVolume:
    """Any grid (oblique, left-handed, anisotropic, one slice) with a few masks, or with more than 255."""
    geometry = draw(geometries())
    many = draw(st.integers(0, 32)) == 0
    if many:
        geometry = Geometry((1, 16, 17), geometry.affine)
    geometry = Geometry(geometry.shape, geometry.affine, True, SERIES, STUDY, FRAME)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    count = 260 if many else draw(st.integers(1, 4))
    values = range(1, count + 1) if many else rng.choice(np.arange(1, 2**16), count, replace=False).tolist()
    segments = [
        Segment(
            int(value),
            NAMES[k] if k < len(NAMES) else f"structure {value}",
            ("10200004", "Liver") if k == 0 else None,
            ("", "left", "right")[k % 3],
            tuple(int(c) for c in rng.integers(0, 256, 3)),
            ORIGINS[k % 3],
        )
        for k, value in enumerate(values)
    ]
    if overlapping and not many:
        return LabelledVolume.from_masks(geometry, [(s, rng.random(geometry.shape) < 0.5) for s in segments])
    labels = rng.choice([0, *values], geometry.shape)
    if many:
        labels.ravel()[:count] = values
    return LabelledVolume.from_labels(geometry, labels, segments)


def write_series(folder: Path, grid: Geometry, **values) -> Path:
    """Write headers of a CT series, one file a plane, names in no order; return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    spacing = grid.spacing_mm
    along, down = (grid.affine[:3, axis] / spacing[axis] for axis in (2, 1))
    for plane in range(grid.shape[0]):
        dataset = Dataset()
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = CT
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        dataset.SeriesInstanceUID, dataset.StudyInstanceUID = grid.series_uid, grid.study_uid
        dataset.FrameOfReferenceUID, dataset.Modality = grid.frame_of_reference_uid, "CT"
        dataset.PatientName, dataset.PatientID, dataset.PatientBirthDate = "Doe^Jane", "PID-8842", "19600102"
        dataset.StudyDate, dataset.SeriesDescription = "20260102", "secret"
        dataset.Rows, dataset.Columns = grid.shape[1:]
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
        dataset.BitsAllocated = dataset.BitsStored = 16
        dataset.HighBit, dataset.PixelRepresentation = 15, 0
        position = grid.index_to_world(np.array([plane, 0, 0]))
        dataset.ImagePositionPatient = [DSfloat(n, auto_format=True) for n in position]
        dataset.ImageOrientationPatient = [DSfloat(n, auto_format=True) for n in (*along, *down)]
        dataset.PixelSpacing = [DSfloat(n, auto_format=True) for n in spacing[1:]]
        dataset.SliceThickness, dataset.InstanceNumber = "1", plane + 1
        dataset.PixelData = bytes(2 * grid.shape[1] * grid.shape[2])
        for keyword, value in values.items():
            setattr(dataset, keyword, value)
        dataset.save_as(folder / f"{(plane * 7 + 3) % 11:02d}_{plane}.dcm", enforce_file_format=True)
    return folder


def seen_by_nibabel(path: Path) -> tuple[NDArray, NDArray]:
    """Return voxels (plane, row, column) and LPS affine of a NIfTI file."""
    image = nibabel.load(path)
    return np.asarray(image.dataobj).T, ras_to_lps(image.affine)


def seen_by_simpleitk(path: Path) -> tuple[NDArray, NDArray]:
    """Return voxels (plane, row, column[, layer]) and LPS affine of a NIfTI or NRRD file."""
    image = SimpleITK.ReadImage(str(path))
    affine = np.eye(4)
    affine[:3, :3] = (np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing())[:, ::-1]
    affine[:3, 3] = image.GetOrigin()
    return SimpleITK.GetArrayFromImage(image), affine


def seen_by_pynrrd(path: Path) -> tuple[NDArray, NDArray]:
    """Return voxels (plane, row, column[, layer]) and LPS affine of a NRRD file."""
    array, header = nrrd.read(str(path), index_order="C")
    affine = np.eye(4)
    affine[:3, :3] = header["space directions"][-3:].T[:, ::-1]
    affine[:3, 3] = header["space origin"]
    return array, affine


def seen_by_highdicom(path: Path, grid: Geometry) -> list[NDArray]:
    """Return the masks (plane, row, column) of a DICOM-SEG on `grid`, in the order of their numbers."""
    segmentation = highdicom.seg.segread(path)
    masks = []
    # highdicom 0.28.2 splits a label map in 8 bits: 257 would count as 1, so one is read as it is.
    is_map = segmentation.segmentation_type.value == "LABELMAP"
    whole = segmentation.get_volume(combine_segments=True) if is_map else None
    for number in segmentation.segment_numbers:
        volume = whole or segmentation.get_volume(segment_numbers=[number], combine_segments=False)
        mask = np.zeros(grid.shape, bool)
        inside = np.argwhere(volume.array == number if is_map else volume.array[..., 0])
        index = volume.map_indices_to_reference(inside.astype(float))
        there = (np.linalg.inv(grid.affine) @ np.column_stack([index, np.ones(len(index))]).T).T[:, :3]
        mask[tuple(np.rint(there).astype(int).T)] = True
        assert np.abs(there - np.rint(there)).max(initial=0) < 1e-2
        masks.append(mask)
    return masks
