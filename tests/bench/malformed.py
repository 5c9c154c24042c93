"""What our readers do with 10,000 spoilt DICOM, NIfTI and NRRD files, beside pydicom, nibabel and SimpleITK.

Each reader works in processes of its own with 4 GiB of address space. Prints a table and exits non-zero when
ours crashes, takes more than 5 s of processor, holds more than 2 GB, raises anything but
`UnreadableFileError`, quotes the patient, or accepts a geometry that cannot be or that the other library
reads otherwise. A tenth as many MetaImage files come on top.
``python tests/bench/malformed.py [--count 10000] [--only dicom] [--no-peers]``
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import select
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import mutate
import numpy as np

SECONDS, PATIENCE = 5.0, 60.0  # of the processor, which others share; of the clock
MEMORY, ADDRESSES = 2e9, 4 << 30
SHARES = {"dicom": 0.5, "nifti": 0.3, "nrrd": 0.2, "metaimage": 0.1}
PEERS = {"dicom": "pydicom", "nifti": "nibabel", "nrrd": "SimpleITK", "metaimage": "SimpleITK"}
WORDS = ("read", "refused", "other error", "impossible", "crash", "hang", "memory")
FLIP = np.eye(4)[[2, 1, 0, 3]]


def impossible(affine: np.ndarray, shape: tuple[int, ...]) -> str:
    """Return why an affine (index to mm, any order of axes) cannot be a patient's, or ""."""
    if not np.isfinite(affine).all():
        return "not finite"
    matrix = affine[:3, :3]
    lengths = np.linalg.norm(matrix, axis=0)
    if lengths.min() < 1e-5 or lengths.max() > 1e3:
        return "voxel size"
    if abs(np.linalg.det(matrix / lengths)) < 1e-6:
        return "singular"
    cosines = (matrix / lengths).T @ (matrix / lengths)
    if np.abs(cosines - np.diag(np.diag(cosines))).max() > np.sin(np.radians(0.35)):
        return "sheared"
    if np.abs(affine[:3, 3]).max() > 1e5 or min(shape) < 1 or (lengths[::-1] * shape[-3:]).max() > 2e4:
        return "place or extent"
    return ""


def read_ours(path: Path) -> tuple[str, str, np.ndarray | None]:
    """Return word, detail and affine, (plane, row, column) to LPS mm, of our reader."""
    from napari_mediround.errors import UnreadableFileError
    from napari_mediround.io import read_study

    try:
        study = read_study(path, volume=0)
    except UnreadableFileError as error:
        told = error.cause and error.remedy and str(path) in str(error)
        clean = "Jane" not in str(error)
        return ("refused", error.cause, None) if told and clean else ("other error", str(error), None)
    geometry = study.source_geometry
    if "Jane" in f"{study.name} {study.modality} {study.notes} {geometry}":
        return "other error", "quotes the patient", None
    if not np.isfinite(study.pixels).all():
        return "impossible", "pixels", None
    if why := impossible(geometry.affine @ FLIP, geometry.shape):
        return "impossible", why, None
    return "read", f"{geometry.shape[0]} planes", geometry.affine if geometry.oriented else None


def read_pydicom(path: Path) -> tuple[str, str, np.ndarray | None]:
    """Return the same of ``dcmread(path).pixel_array`` and the position, orientation and spacing it says."""
    import pydicom

    dataset = pydicom.dcmread(path)
    pixels = dataset.pixel_array
    keywords = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")
    if not all(dataset.get(keyword) for keyword in keywords) or int(dataset.get("NumberOfFrames") or 1) > 1:
        return "read", "", None
    said = [dataset.get(keyword) for keyword in keywords]
    try:
        place, turn, spacing = (np.array([float(n) for n in np.atleast_1d(v)]) for v in said)
    except ValueError:
        return "impossible", "no numbers", None
    if (place.size, turn.size, spacing.size) != (3, 6, 2):
        return "impossible", "count of numbers", None
    lengths = np.linalg.norm(turn.reshape(2, 3), axis=1)
    if spacing.min() <= 0 or np.abs(lengths - 1).max() > 0.01:
        return "impossible", "spacing or directions", None
    along, down = turn.reshape(2, 3) / lengths[:, None]  # cosines: the spacing alone has a length
    affine = np.eye(4)
    affine[:3, 2], affine[:3, 1] = along * spacing[1], down * spacing[0]
    affine[:3, 0], affine[:3, 3] = np.cross(along, down), place
    return _judge(affine, (1, *pixels.shape[:2]))


def read_nibabel(path: Path) -> tuple[str, str, np.ndarray | None]:
    """Return the same of ``nibabel.load(path)``."""
    import nibabel

    image = nibabel.load(path)
    pixels = np.asanyarray(image.dataobj)
    affine = np.diag([-1.0, -1, 1, 1]) @ image.affine @ FLIP
    return _judge(affine, (*pixels.shape, 1, 1)[2::-1])


def read_simpleitk(path: Path) -> tuple[str, str, np.ndarray | None]:
    """Return the same of ``SimpleITK.ReadImage``."""
    import SimpleITK

    image = SimpleITK.ReadImage(str(path))
    SimpleITK.GetArrayFromImage(image)
    size = image.GetDimension()
    if size != 3:
        return "read", "", None
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    return _judge(affine @ FLIP, image.GetSize()[::-1])


def _judge(affine: np.ndarray, shape: tuple[int, ...]) -> tuple[str, str, np.ndarray | None]:
    why = impossible(affine @ FLIP, shape)
    return ("impossible", why, None) if why else ("read", "", affine)


READERS = {"ours": read_ours, "pydicom": read_pydicom, "nibabel": read_nibabel, "SimpleITK": read_simpleitk}


def child(reader: str, kind: str, start: int, stop: int, out: int) -> None:
    """Read the cases of a range and write one JSON line before and one after each to `out`."""
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESSES, ADDRESSES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder, os.fdopen(out, "w", buffering=1) as lines:
        for number in range(start, stop):
            suffix, data, _ = mutate.make_case(kind, number)
            path = Path(folder, f"case{suffix}")
            path.write_bytes(data)
            lines.write(json.dumps({"begin": number}) + "\n")
            began = time.process_time()
            try:
                word, detail, affine = READERS[reader](path)
            except Exception as error:  # to be counted, whatever it is
                known = reader != "ours"
                word, detail, affine = "refused" if known else "other error", type(error).__name__, None
            held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
            seconds = time.process_time() - began
            word = "hang" if seconds > SECONDS else word
            said = {"end": number, "word": word, "detail": detail, "seconds": seconds}
            said |= {"held": held, "affine": None if affine is None else affine.tolist()}
            lines.write(json.dumps(said) + "\n")
            path.unlink()


def _lines(process: subprocess.Popen, pipe: int) -> Iterator[str | None]:
    """Yield the lines of a child; None when none came for `PATIENCE` while a file was being read."""
    rest, patience = b"", 600.0
    while True:
        if not select.select([pipe], [], [], patience)[0]:
            yield None
            return
        part = os.read(pipe, 1 << 16)
        if not part:
            return
        *whole, rest = (rest + part).split(b"\n")
        for line in whole:
            patience = PATIENCE if b"begin" in line else 600.0
            yield line.decode()


def run(reader: str, kind: str, count: int) -> dict[int, dict]:
    """Return for every case what a reader made of it."""
    found: dict[int, dict] = {}
    start = 0
    while start < count:
        pipe, end = os.pipe()
        command = [
            sys.executable,
            __file__,
            "--child",
            reader,
            kind,
            str(start),
            str(min(start + 500, count)),
            str(end),
        ]
        process = subprocess.Popen(
            command, pass_fds=[end], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        os.close(end)
        begun, hung = None, False
        for line in _lines(process, pipe):
            if line is None:
                hung = True
                break
            said = json.loads(line)
            begun = said.get("begin")
            if begun is None:
                found[said["end"]] = said
        process.kill()
        code = process.wait()
        os.close(pipe)
        if begun is not None:
            found[begun] = {
                "word": "hang" if hung else "crash",
                "detail": f"exit {code}",
                "held": 0,
                "affine": None,
            }
        elif (max(found, default=-1)) < start:
            raise RuntimeError(f"{' '.join(command)} did not start")
        start = max(found) + 1
    held = 0.0
    for said in found.values():
        if said["word"] not in ("hang", "crash") and said["held"] > MEMORY >= held:
            said["word"], said["detail"] = "memory", f"{said['held'] / 1e9:.1f} GB"
        held = max(held, said["held"])
    return found


def disagree(ours: dict[int, dict], peers: dict[int, dict]) -> list[int]:
    """Return the cases that both read, at different places in the patient."""
    bad = []
    for number, said in ours.items():
        there = peers.get(number, {}).get("affine")
        if said["affine"] is not None and there is not None:
            here, there = np.array(said["affine"]), np.array(there)
            columns = slice(1 if said["detail"] == "1 planes" else 0, 4)
            if not np.allclose(here[:, columns], there[:, columns], rtol=1e-3, atol=1e-3):
                bad.append(number)
    return bad


def report(reader: str, kind: str, found: dict[int, dict], seconds: float) -> None:
    """Print one row of the table and, below it, the kinds of errors."""
    words = Counter(said["word"] for said in found.values())
    slowest, case = max(
        ((said.get("seconds", 0.0), number) for number, said in found.items()), default=(0, 0)
    )
    held = max((said["held"] for said in found.values()), default=0.0)
    row = "".join(f"{words[word]:>12}" for word in WORDS)
    most = f"slowest {slowest:.2f} s (case {case}), {held / 1e6:.0f} MB, {seconds:.0f} s in all"
    print(f"{kind:10}{reader:11}{len(found):>7}{row}   {most}")
    if reader != "ours":
        kinds = Counter(said["detail"] for said in found.values() if said["word"] == "refused")
        print(f"{'':21}{len(kinds)} error types: " + ", ".join(f"{k} {n}" for k, n in kinds.most_common()))


def main() -> int:
    """Run all readers over all cases; return 1 when ours broke a rule."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--only", choices=mutate.KINDS)
    parser.add_argument("--no-peers", action="store_true")
    options = parser.parse_args()
    print(f"{'files':10}{'reader':11}{'cases':>7}" + "".join(f"{word:>12}" for word in WORDS))
    broken = 0
    for kind, share in SHARES.items():
        if options.only not in (None, kind):
            continue
        results = {}
        for reader in ("ours", PEERS[kind])[: 1 if options.no_peers else 2]:
            began = time.perf_counter()
            results[reader] = run(reader, kind, round(options.count * share))
            report(reader, kind, results[reader], time.perf_counter() - began)
        faults = {
            number: f"{said['word']}, {said['detail'][:150]}"
            for number, said in results["ours"].items()
            if said["word"] not in ("read", "refused")
        }
        for number in disagree(results["ours"], results.get(PEERS[kind], {})):
            faults[number] = f"another place than {PEERS[kind]} says"
        for number, fault in faults.items():
            print(f"  {kind} {number} {mutate.make_case(kind, number)[2]}: {fault}")
        broken += len(faults)
    print(f"broken={broken}")
    return 1 if broken else 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(*sys.argv[2:4], *(int(n) for n in sys.argv[4:7]))
    else:
        sys.exit(main())
