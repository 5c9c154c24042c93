"""Random geometries out, in as rounds, and out again: how many came back exact, and how long a mask takes.

Each volume is exported, read by `read_incoming`, taken into a conversation, exported from its record, and
compared voxel by voxel with what went out first; names and origins too. Contours are compared with the
contours filled once. ``python tests/bench/import_trips.py [volumes] [seconds]``.
"""

from __future__ import annotations

import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from exports import volumes, write_series
from fakes import FakeSegmenter
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from napari_mediround.domain.anatomy import load_anatomy
from napari_mediround.domain.segments import LabelledVolume, Segment, make_segment
from napari_mediround.domain.study import make_study
from napari_mediround.errors import MediRoundError
from napari_mediround.io.coding import said_of
from napari_mediround.io.export import Options, export
from napari_mediround.io.masks.outside import read_incoming
from napari_mediround.session import Session
from napari_mediround.session.importing import import_taken, judge_taken, take_masks

FORMS = {
    "nifti": "a.nii.gz", "seg-nrrd": "a.seg.nrrd", "dicom-seg": "seg.dcm", "dicom-labelmap": "map.dcm",
    "rtstruct": "rt.dcm", "tiff": "a.tif",
}  # fmt: skip
DICOM = ("dicom-seg", "dicom-labelmap", "rtstruct")
FLAT = ("nifti", "dicom-labelmap", "tiff")


def through_rounds(path: Path, volume: LabelledVolume, image: Path | None) -> tuple[LabelledVolume, float]:
    """Return the masks of a file after they were rounds, and the seconds that each took."""
    began, anatomy = time.monotonic(), load_anatomy()
    study = make_study(np.zeros(volume.geometry.shape, np.int16), volume.geometry, "CT")
    found = read_incoming(path, study.source_geometry, anatomy, image)
    session = Session(FakeSegmenter(), study, anatomy)
    names = {s.value: s.name for s in found.volume.segments}
    taken = judge_taken(session, take_masks(found.volume, study, names, found.source_of))
    import_taken(session, taken, {"preset": "fake"})
    seconds = (time.monotonic() - began) / max(len(taken), 1)
    return _from_record(session), seconds


def _from_record(session: Session) -> LabelledVolume:
    """Return what the record says, each structure whole, overlaps too."""
    study, anatomy, groups = session.study, load_anatomy(), {}
    for mask in session.judged_masks():
        groups.setdefault(mask.value, []).append(mask)
    pairs = []
    for value, masks in sorted(groups.items()):
        shown = np.zeros(study.geometry.shape, bool)
        for mask in masks:
            shown[mask.plane] |= mask.mask.to_array()
        first = masks[0]
        more = said_of(first.imported, first.name, anatomy)
        segment = make_segment(value, first.name, anatomy, first.origin, **more)
        pairs.append((segment, study.order.undo(shown)))
    return LabelledVolume.from_masks(study.source_geometry, pairs)


def differences(meant: LabelledVolume, found: LabelledVolume, by_value: bool = False) -> list[str]:
    """Return what differs between masks that went in and those that came out; empty ones do not come in."""
    there = [s for s in meant.segments if meant.voxels(s)]
    there = sorted(there, key=lambda s: s.value) if by_value else there
    if len(there) != len(found.segments):
        return [f"{len(there)} masks, {len(found.segments)} came back"]
    wrong = []
    for one, other in zip(there, found.segments, strict=True):
        if not np.array_equal(meant.mask(one), found.mask(other)):
            wrong.append(f"voxels of {one.name}")
        wrong += [f"{field} of {one.name}" for field in ("name", "origin") if _differs(one, other, field)]
    return wrong


def _differs(one: Segment, other: Segment, field: str) -> bool:
    return getattr(one, field) != getattr(other, field)


def check(volume: LabelledVolume, folder: Path, form: str, image: Path | None) -> tuple[list[str], float]:
    """Return what differs after out, in, out and in, in one format, and the seconds of each mask."""
    path, options = folder / FORMS[form], Options(dicom=image)
    meant = volume.flatten()[0] if form in FLAT else volume
    export(meant, path, form, options)
    if form == "rtstruct":
        meant = read_incoming(path, volume.geometry, load_anatomy(), image).volume
    found, seconds = through_rounds(path, volume, image)
    wrong = differences(meant, found, form in ("nifti", "tiff"))
    again = folder / f"again_{FORMS[form]}"
    export(found, again, form, options)
    twice, _ = through_rounds(again, volume, image)
    if form != "rtstruct":
        wrong += [f"{w}, the second time" for w in differences(found, twice) if "origin" not in w]
    return wrong, seconds


def run(count: int, seconds: float) -> int:
    """Check up to `count` random volumes in up to `seconds`; return how many trips differed."""
    began, tried, exact, refused, failures = time.monotonic(), 0, Counter(), Counter(), []
    slowest = Counter()

    @seed(25)
    @settings(
        max_examples=count, deadline=None, phases=(Phase.generate,), database=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(st.booleans().flatmap(lambda overlapping: volumes(overlapping)))
    def trip(volume: LabelledVolume) -> None:
        nonlocal tried
        if time.monotonic() - began > seconds or not any(volume.voxels(s) for s in volume.segments):
            return
        tried += 1
        with tempfile.TemporaryDirectory() as out:
            folder = Path(out)
            image = write_series(folder / "series", volume.geometry)
            for form in FORMS:
                try:
                    wrong, slow = check(volume, folder, form, image if form in DICOM else None)
                except MediRoundError as error:
                    refused[form] += 1
                    failures.append((form, tried, str(error)[:200]))
                    continue
                slowest[form] = max(slowest[form], slow)
                exact[form] += not wrong
                failures.extend((form, tried, w) for w in wrong[:3])

    trip()
    for form in FORMS:
        print(
            f"{form}: {exact[form]} of {tried} exact, {refused[form]} refused, "
            f"at most {slowest[form]:.2f} s a mask"
        )
    for failure in failures[:20]:
        print("DIFFERS", *failure)
    print(f"volumes={tried} differ={len(failures)} seconds={time.monotonic() - began:.0f}")
    return len(failures)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    numbers = [float(word) for word in sys.argv[1:]]
    sys.exit(bool(run(int(numbers[0]) if numbers else 1000, numbers[1] if len(numbers) > 1 else 1e9)))
