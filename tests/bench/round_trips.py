"""Random geometries out and in again, in every lossless format: how many came back exact.

Each volume is exported with its receipt (first reader) and read once more by a second library. dcmqi's
``segimage2itkimage`` reads DICOM-SEG where it is on the path, every tenth volume; VTK reads NIfTI where it is
installed. Prints counts and exits non-zero when one differs.
``python tests/bench/round_trips.py [volumes] [seconds]``
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from exports import (
    seen_by_highdicom,
    seen_by_nibabel,
    seen_by_pynrrd,
    seen_by_simpleitk,
    volumes,
    write_series,
)
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from tifffile import imread

from napari_mediround.domain.segments import LabelledVolume
from napari_mediround.errors import MediRoundError
from napari_mediround.io.export import Options, export

DCMQI, VTK = shutil.which("segimage2itkimage"), importlib.util.find_spec("vtk")
SHARE = 10


def same(array, meant) -> bool:
    """Whether an array of any shape with the same number of values equals another."""
    return array.size == meant.size and np.array_equal(array.reshape(meant.shape), meant)


def check_nifti(volume: LabelledVolume, folder: Path, options: Options, number: int) -> str:
    """Export and look again with nibabel and, where there is one, VTK."""
    flat = volume.flatten()[0]
    export(flat, folder / "a.nii.gz")
    labels, affine = seen_by_nibabel(folder / "a.nii.gz")
    meant = flat.geometry.affine.astype(np.float32)
    assert same(labels, flat.layers[0])
    assert np.array_equal(affine.astype(np.float32), meant)
    if not VTK:
        return "SimpleITK, nibabel"
    import vtk
    from vtk.util.numpy_support import vtk_to_numpy

    reader = vtk.vtkNIFTIImageReader()
    reader.SetFileName(str(folder / "a.nii.gz"))
    reader.Update()
    assert same(vtk_to_numpy(reader.GetOutput().GetPointData().GetScalars()), flat.layers[0])
    return "SimpleITK, nibabel, VTK"


def check_seg_nrrd(volume: LabelledVolume, folder: Path, options: Options, number: int) -> str:
    """Export and look again with pynrrd."""
    export(volume, folder / "a.seg.nrrd")
    labels, affine = seen_by_pynrrd(folder / "a.seg.nrrd")
    assert same(labels, np.stack(volume.layers, -1))
    assert np.allclose(affine, volume.geometry.affine, rtol=0, atol=1e-9)
    return "SimpleITK, pynrrd"


def check_dicom_seg(volume: LabelledVolume, folder: Path, options: Options, number: int) -> str:
    """Export and look again with highdicom and, on some volumes, dcmqi."""
    export(volume, folder / "seg.dcm", "dicom-seg", options)
    masks = seen_by_highdicom(folder / "seg.dcm", volume.geometry)
    assert all(np.array_equal(m, volume.mask(s)) for m, s in zip(masks, volume.segments, strict=True))
    return "pydicom, highdicom"


def check_dcmqi(volume: LabelledVolume, folder: Path, options: Options, number: int) -> str:
    """Look at the DICOM-SEG again with dcmqi, one NRRD a segment."""
    if not DCMQI or number % SHARE or len(volume.segments) > 9:
        return ""
    if min(volume.geometry.shape[1:]) < 2:
        return ""  # ITK cannot hold the plane's directions of a line
    out = folder / "dcmqi"
    out.mkdir()
    words = [DCMQI, "--inputDICOM", folder / "seg.dcm", "--outputDirectory", out, "--outputType", "nrrd"]
    done = subprocess.run([str(w) for w in words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-300:]
    to_index = np.linalg.inv(volume.geometry.affine)
    for k, segment in enumerate(volume.segments, 1):
        if not volume.voxels(segment):
            continue
        labels, affine = seen_by_simpleitk(out / f"{k}.nrrd")
        inside = np.argwhere(labels)
        there = (to_index @ affine @ np.column_stack([inside, np.ones(len(inside))]).T)[:3].T
        assert np.abs(there - there.round()).max(initial=0) < 0.01
        mask = np.zeros(volume.geometry.shape, bool)
        mask[tuple(there.round().astype(int).T)] = True
        assert np.array_equal(mask, volume.mask(segment))
    return "dcmqi"


def check_labelmap(volume: LabelledVolume, folder: Path, options: Options, number: int) -> str:
    """Export and look again with highdicom."""
    flat = volume.flatten()[0]
    export(flat, folder / "map.dcm", "dicom-labelmap", options)
    masks = seen_by_highdicom(folder / "map.dcm", flat.geometry)
    assert all(np.array_equal(m, flat.mask(s)) for m, s in zip(masks, flat.segments, strict=True))
    return "pydicom, highdicom"


def check_tiff(volume: LabelledVolume, folder: Path, options: Options, number: int) -> str:
    """Export and look again with tifffile; scikit-image takes three or four planes for colours."""
    flat = volume.flatten()[0]
    export(flat, folder / "a.tif")
    assert same(imread(folder / "a.tif"), flat.layers[0])
    return "SimpleITK, tifffile"


CHECKS = {
    "nifti": check_nifti,
    "seg-nrrd": check_seg_nrrd,
    "tiff": check_tiff,
    "dicom-seg": check_dicom_seg,
    "dicom-seg by dcmqi": check_dcmqi,
    "dicom-labelmap": check_labelmap,
}


def run(count: int, seconds: float) -> int:
    """Check up to `count` volumes in up to `seconds`; return how many differed."""
    began, tried = time.monotonic(), Counter()
    exact, kinds, readers, failures = Counter(), Counter(), {}, []

    @seed(1)
    @settings(
        max_examples=count,
        deadline=None,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    @given(st.booleans().flatmap(lambda overlapping: volumes(overlapping)))
    def check(volume: LabelledVolume) -> None:
        if time.monotonic() - began > seconds:
            return
        tried["volumes"] += 1
        kinds["left-handed"] += bool(np.linalg.det(volume.geometry.affine[:3, ::-1][:, :3]) < 0)
        kinds["one slice"] += volume.geometry.shape[0] == 1
        kinds["overlapping"] += volume.overlapping
        kinds["> 255 labels"] += len(volume.segments) > 255
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            options = Options(dicom=write_series(folder / "series", volume.geometry))
            for form, look in CHECKS.items():
                try:
                    said = look(volume, folder, options, tried["volumes"])
                except (AssertionError, MediRoundError, ValueError, OSError) as error:
                    failures.append((form, tried["volumes"], type(error).__name__, str(error)[:300]))
                    continue
                exact[form] += bool(said)
                readers[form] = said or readers.get(form, "")
        if tried["volumes"] % 50 == 0:
            print(f"{tried['volumes']} volumes, {len(failures)} differ", flush=True)

    check()
    for form in CHECKS:
        print(f"{form}: {exact[form]} of {tried['volumes']} exact ({readers.get(form) or 'not run'})")
    print("among them " + ", ".join(f"{n} {kind}" for kind, n in kinds.items()))
    for failure in failures[:10]:
        print("DIFFERS", *failure)
    print(f"differ={len(failures)} volumes={tried['volumes']} seconds={time.monotonic() - began:.0f}")
    return len(failures)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    numbers = [float(word) for word in sys.argv[1:]]
    sys.exit(bool(run(int(numbers[0]) if numbers else 1000, numbers[1] if len(numbers) > 1 else 1e9)))
