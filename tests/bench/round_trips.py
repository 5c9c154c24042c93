"""Random geometries out and in again, in every lossless format: how many came back exact.

Each volume is exported with its receipt (first reader) and read once more by a second library. dcmqi's
``segimage2itkimage`` reads DICOM-SEG where it is on the path, every tenth volume; VTK reads NIfTI where it is
installed. Prints counts and exits non-zero when one differs.
``python tests/bench/round_trips.py [volumes] [seconds]``; with a folder, on the grids of the images in it
instead.
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
from collections.abc import Callable
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

from napari_mediround.domain.segments import LabelledVolume, Segment
from napari_mediround.errors import MediRoundError
from napari_mediround.io import read_study
from napari_mediround.io.export import Options, export

DCMQI, VTK = shutil.which("segimage2itkimage"), importlib.util.find_spec("vtk")
SHARE = 10
IMAGES = {".nii", ".gz", ".nrrd", ".mha", ".png", ".jpg", ".tif", ".tiff"}


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
    if not flat.geometry.oriented:  # no place is written; nibabel puts the centre at 0
        affine, meant = (np.diag(np.linalg.norm(a[:3, :3], axis=0)) for a in (affine, meant))
    assert np.array_equal(affine.astype(np.float32), meant.astype(np.float32))
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


class Tally:
    """How many volumes came back exact in each format, and what differed."""

    def __init__(self) -> None:
        self.began, self.tried, self.failures = time.monotonic(), 0, []
        self.exact, self.kinds, self.readers = Counter(), Counter(), {}

    def check(self, volume: LabelledVolume, dicom: Callable[[Path], Path | None], name: str = "") -> None:
        """Export a volume in every format and look at it again; `dicom` gives its images, given a folder."""
        self.tried += 1
        self.kinds["left-handed"] += bool(np.linalg.det(volume.geometry.affine[:3, ::-1][:, :3]) < 0)
        self.kinds["one slice"] += volume.geometry.shape[0] == 1
        self.kinds["overlapping"] += volume.overlapping
        self.kinds["> 255 labels"] += len(volume.segments) > 255
        with tempfile.TemporaryDirectory() as out:
            folder = Path(out)
            options = Options(dicom=dicom(folder / "series"))
            for form, look in CHECKS.items():
                if options.dicom is None and "dicom" in form:
                    continue
                try:
                    said = look(volume, folder, options, self.tried)
                except (AssertionError, MediRoundError, ValueError, OSError) as error:
                    self.failures.append((form, name or self.tried, type(error).__name__, str(error)[:300]))
                    continue
                self.exact[form] += bool(said)
                self.readers[form] = said or self.readers.get(form, "")

    def report(self) -> int:
        """Print the counts; return how many differed."""
        for form in CHECKS:
            print(f"{form}: {self.exact[form]} of {self.tried} exact ({self.readers.get(form) or 'not run'})")
        print("among them " + ", ".join(f"{n} {kind}" for kind, n in self.kinds.items()))
        for failure in self.failures[:30]:
            print("DIFFERS", *failure)
        seconds = time.monotonic() - self.began
        print(f"differ={len(self.failures)} volumes={self.tried} seconds={seconds:.0f}")
        return len(self.failures)


def run(count: int, seconds: float) -> int:
    """Check up to `count` random volumes in up to `seconds`; return how many differed."""
    tally = Tally()

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
        if time.monotonic() - tally.began > seconds:
            return
        tally.check(volume, lambda folder: write_series(folder, volume.geometry))
        if tally.tried % 50 == 0:
            print(f"{tally.tried} volumes, {len(tally.failures)} differ", flush=True)

    check()
    return tally.report()


def run_real(root: Path) -> int:
    """Check a labelled volume on the grid of each image under `root` that opens; return how many differed."""
    tally, rng = Tally(), np.random.default_rng(1)
    images = [p for p in sorted(root.rglob("*")) if p.is_file()]
    folders = [p for p in sorted(root.iterdir()) if p.is_dir()]
    for path in (*folders, *images):
        try:
            study = read_study(path)
        except MediRoundError as error:
            print(f"{path.relative_to(root)}: {str(error).replace(str(root), '')[:150]}")
            continue
        grid = study.source_geometry
        masks = [(s, rng.random(grid.shape) < 0.3) for s in (Segment(1, "liver"), Segment(7, "left kidney"))]
        is_dicom = path.is_dir() or path.suffix.lower() not in IMAGES
        images_of = path if is_dicom and grid.oriented and grid.series_uid else None
        tally.check(
            LabelledVolume.from_masks(grid, masks),
            lambda _, images_of=images_of: images_of,
            str(path.relative_to(root)),
        )
    return tally.report()


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    words = sys.argv[1:]
    if words and Path(words[0]).is_dir():
        sys.exit(bool(run_real(Path(words[0]))))
    numbers = [float(word) for word in words]
    sys.exit(bool(run(int(numbers[0]) if numbers else 1000, numbers[1] if len(numbers) > 1 else 1e9)))
