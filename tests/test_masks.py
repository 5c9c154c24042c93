"""Masks come in on the image's own voxels, as rounds that later rounds can point at."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace

import nibabel
import numpy as np
import pytest
from exports import write_series
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid
from test_export import GRID, make_discs

from napari_mediround.domain.anatomy import load_anatomy
from napari_mediround.domain.geometry import Geometry
from napari_mediround.domain.segments import AUTOMATIC, MANUAL, LabelledVolume, make_segment
from napari_mediround.errors import UnreadableFileError
from napari_mediround.io.export import Options, export
from napari_mediround.io.export.deidentify import remap_volume
from napari_mediround.io.labels import save_grid
from napari_mediround.io.masks import read_masks
from napari_mediround.io.masks.monai import read_monai, read_monai_masks
from napari_mediround.io.masks.rtstruct_reader import STRUCTURE_SET


def make_boxes(grid: Geometry) -> LabelledVolume:
    """Return a liver over all planes, largest on plane 2, and a spleen on plane 1."""
    liver, spleen = np.zeros(grid.shape, bool), np.zeros(grid.shape, bool)
    liver[:, 2:4, 2:4] = True
    liver[2, 2:8, 2:8] = True
    spleen[1, 10:12, 10:14] = True
    return LabelledVolume.from_masks(
        grid, [(make_segment(1, "liver"), liver), (make_segment(2, "spleen"), spleen)]
    )


@pytest.mark.parametrize(
    "said",
    [
        {"labels": {"1": "1 liver", "5": "spleen", "9": "aorta"}},
        {"1": "liver", "5": "spleen", "9": "aorta"},
        {"labels": {"background": 0, "liver": 1, "spleen": 5, "aorta": 9}, "channel_names": {"0": "CT"}},
    ],
)
def test_names_beside_a_label_map_are_read_in_each_common_form(tmp_path, said):
    save_grid(tmp_path / "a.nii.gz", make_discs().flatten()[0].layers[0], GRID)
    (tmp_path / "a.json").write_text(json.dumps(said))
    assert [s.name for s in read_masks(tmp_path / "a.nii.gz", GRID).segments] == ["liver", "spleen", "aorta"]


def test_a_plain_label_map_has_numbers_for_names(tmp_path):
    labels = make_discs().flatten()[0].layers[0]
    save_grid(tmp_path / "a.nii.gz", labels, GRID)
    volume = read_masks(tmp_path / "a.nii.gz", GRID)
    assert [s.name for s in volume.segments] == ["structure 1", "structure 5", "structure 9"]
    assert {s.origin for s in volume.segments} == {MANUAL}
    assert np.array_equal(volume.layers[0], labels)


@pytest.mark.parametrize("suffix", [".nii.gz", ".seg.nrrd"])
def test_masks_on_turned_and_cropped_grids_find_their_voxels(tmp_path, suffix):
    whole = make_boxes(GRID)
    step = np.diag([1.0, -1.0, 1.0, 1.0])
    step[:3, 3] = (1, 12, 0)
    # Planes 1 and 2, rows 12 to 0 backwards, then rows and planes swapped.
    part = whole.layers[0][1:3, 12::-1, :14].transpose(1, 0, 2)
    affine = (GRID.affine @ step)[:, [1, 0, 2, 3]]
    cropped = LabelledVolume.from_labels(Geometry(part.shape, affine), part, whole.segments)
    export(cropped, tmp_path / f"a{suffix}")
    again = read_masks(tmp_path / f"a{suffix}", GRID)
    expected = whole.layers[0].copy()
    expected[[0, 3]] = 0
    assert np.array_equal(again.layers[0], expected)


def test_masks_of_another_grid_are_refused(tmp_path):
    export(make_discs(), tmp_path / "a.seg.nrrd")
    moved = GRID.affine.copy()
    moved[0, 3] += 0.4
    for other in (replace(GRID, affine=moved), replace(GRID, shape=(4, 10, 24))):
        with pytest.raises(UnreadableFileError, match=r"a\.seg\.nrrd"):
            read_masks(tmp_path / "a.seg.nrrd", other)


def test_names_of_the_command_line_lose_their_number(tmp_path):
    grid = Geometry((2, 3, 4), np.eye(4))
    save_grid(tmp_path / "a.nii.gz", np.arange(24, dtype=np.uint8).reshape(2, 3, 4) % 3, grid)
    names = {"1": "1 left kidney", "2": "11 o'clock"}
    (tmp_path / "a.json").write_text(json.dumps({"labels": names}))
    kidney, other = read_masks(tmp_path / "a.nii.gz", grid, load_anatomy()).segments
    assert (kidney.name, kidney.side, kidney.code[0]) == ("left kidney", "left", "64033007")
    assert other.name == "11 o'clock"


def test_an_image_is_no_label_map(tmp_path):
    image = nibabel.Nifti1Image(np.linspace(-1, 1, 60, dtype=np.float32).reshape(3, 4, 5), np.eye(4))
    nibabel.save(image, tmp_path / "a.nii")
    with pytest.raises(UnreadableFileError, match="Choose the label map"):
        read_masks(tmp_path / "a.nii", Geometry((5, 4, 3), np.eye(4)))


@pytest.mark.parametrize("form", ["dicom-seg", "dicom-labelmap", "rtstruct"])
@pytest.mark.parametrize("key", ["", "k" * 32])
def test_masks_of_another_frame_of_reference_are_refused(tmp_path, form, key):
    series = write_series(tmp_path / "series", GRID)
    options = Options(dicom=series, key=key)
    volume = make_discs(overlapping=False)
    export(volume, tmp_path / "a.dcm", form, options)
    grid = remap_volume(volume, key).geometry if key else GRID
    for known in (grid, replace(grid, frame_of_reference_uid="")):
        again = read_masks(tmp_path / "a.dcm", known)
        assert again.voxels(again.segments[0])
    with pytest.raises(UnreadableFileError, match="another frame of reference"):
        read_masks(tmp_path / "a.dcm", replace(grid, frame_of_reference_uid="1.2.3"))


def test_contours_of_other_images_are_refused(tmp_path):
    series = write_series(tmp_path / "series", GRID)
    export(make_discs(), tmp_path / "a.dcm", "rtstruct", Options(dicom=series))
    with pytest.raises(UnreadableFileError, match="outside the images"):
        read_masks(tmp_path / "a.dcm", Geometry((2, 20, 24), GRID.affine))


def circle_item(number: int, circles) -> Dataset:
    """Return the item of a structure's circles (z, radius[, type]) round (32, 32) mm."""
    item = Dataset()
    item.ReferencedROINumber, item.ContourSequence = number, []
    turn = np.linspace(0, 2 * np.pi, 200, endpoint=False)
    for z, radius, *kind in circles:
        points = (32 + radius * np.cos(turn), 32 + radius * np.sin(turn), np.full(turn.size, z))
        contour = Dataset()
        contour.ContourData = [f"{number:.3f}" for number in np.column_stack(points).ravel()]
        if kind:
            contour.ContourGeometricType = kind[0]
        item.ContourSequence.append(contour)
    return item


@pytest.fixture
def drawn_items(tmp_path):
    """Write items of contours of the structures 1, 2, … `names`; read them onto planes `step` mm apart."""

    def read(items, step: float, planes: int, names=("liver",), numbers=None) -> LabelledVolume:
        grid = Geometry((planes, 64, 64), np.diag([step, 1.0, 1.0, 1.0])[[2, 1, 0, 3]], True, *"123")
        dataset, rois = Dataset(), [Dataset() for _ in names]
        for roi, name, number in zip(rois, names, numbers or range(1, 9), strict=False):
            roi.ROINumber, roi.ROIName = number, name
        dataset.StructureSetROISequence, dataset.ROIContourSequence = rois, list(items)
        dataset.SOPClassUID, dataset.Modality = STRUCTURE_SET, "RTSTRUCT"
        dataset.SOPInstanceUID, dataset.file_meta = generate_uid(), FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.save_as(tmp_path / "drawn.dcm", enforce_file_format=True)
        return read_masks(tmp_path / "drawn.dcm", grid)

    return read


@pytest.fixture
def drawn(drawn_items):
    """Write a structure of circles; read it onto planes `step` mm apart."""
    return lambda circles, step, planes: drawn_items([circle_item(1, circles)], step, planes)


def test_a_structure_in_two_items_keeps_both(drawn_items):
    items = [circle_item(1, [(3, 10)]), circle_item(2, [(3, 4)]), circle_item(1, [(6, 10)])]
    volume = drawn_items(items, 3.0, 4, ("liver", "spleen"))
    assert volume.layers[0].any((1, 2)).tolist() == [False, True, True, False]
    assert (volume.notes, [s.name for s in volume.segments]) == ((), ["liver", "spleen"])


def test_contours_of_a_number_that_two_structures_share_are_refused(drawn_items):
    with pytest.raises(UnreadableFileError, match="2 of its structures have the number 7"):
        drawn_items([circle_item(7, [(3, 10)])], 3.0, 4, ("liver", "spleen"), (7, 7))
    lost = drawn_items([circle_item(1, [(3, 10)]), circle_item(5, [(3, 4)])], 3.0, 4)
    assert lost.notes == ("contours of a structure 5, which the file does not list, are left out",)


def test_the_xor_type_alone_counts_a_double_twice(drawn):
    for kind, area in (("CLOSED_PLANAR", 100), ("CLOSEDPLANAR_XOR", 0)):
        double = drawn([(3, 10, kind), (3, 10, kind)], 3.0, 4).layers[0]
        assert double[1].sum() == pytest.approx(np.pi * area, rel=0.03)


def test_what_encloses_nothing_is_skipped_and_said(drawn_items):
    item = circle_item(1, [(3, 10), (3, 5, "OPEN_PLANAR"), (3, 5, "POINT"), (3, 5, "OPEN_NONPLANAR"), (6, 5)])
    for data in (["1", "2", "6"], ["1", "2", "6", "4", "5", "6"], []):
        item.ContourSequence.append(Dataset())
        item.ContourSequence[-1].ContourData = data
    volume = drawn_items([item], 3.0, 4, ("liver", "spleen"))
    assert volume.layers[0][1].sum() == pytest.approx(np.pi * 100, rel=0.03)
    assert volume.notes == (
        "liver: open lines, which enclose nothing, were skipped (2)",
        "liver: points, which enclose nothing, were skipped (1)",
        "liver: contours, of fewer than three points, were skipped (3)",
        "spleen: it has no closed contour, and its mask is empty",
    )


@pytest.mark.parametrize(
    ("planes", "said"), [((1, 2, 3), ""), ((1, 3, 5), "2 of the 5"), ((2, 7), "4 of the 6")]
)
def test_planes_between_contours_that_have_none_are_counted(drawn, planes, said):
    volume = drawn([(3 * plane, 10) for plane in planes], 3.0, 9)
    assert volume.layers[0].any((1, 2)).nonzero()[0].tolist() == list(planes)
    share = {"": "", "2 of the 5": "40%", "4 of the 6": "67%"}[said]
    assert len(volume.notes) == bool(said)
    assert all(said in note and f"about {share} of its volume" in note for note in volume.notes)


@pytest.mark.parametrize(("start", "apart"), [(0, 3), (0, 1), (0, 1.5), (0.75, 1.5), (1.5, 3), (1.4, 3)])
def test_contours_drawn_finer_or_between_the_images_keep_their_volume(drawn, start, apart):
    heights = np.arange(start, 60, apart)
    ball = drawn([(z, np.sqrt(400 - (z - 30) ** 2)) for z in heights if abs(z - 30) < 19.9], 3.0, 21)
    assert ball.volume_ml(ball.segments[0]) == pytest.approx(33.5, rel=0.02)
    tube = drawn([(z, 10) for z in heights[heights < 30]], 3.0, 21)
    assert (tube.layers[0].any((1, 2)).sum(), tube.layers[0][1:10].any((1, 2)).all()) in (
        (10, True),
        (11, True),
    )


def test_a_plane_takes_the_contours_of_the_one_height_nearest_to_it(drawn):
    ring = drawn([(6, 20), (6.05, 10), (7, 15), (5.5, 5)], 3.0, 4).layers[0]
    assert [int(plane.sum()) for plane in ring] == [0, 0, pytest.approx(np.pi * 300, rel=0.02), 0]
    halfway = drawn([(2.25, 20), (3.75, 10), (9.4, 10)], 3.0, 4).layers[0]
    assert halfway[1].sum() == pytest.approx(np.pi * 400, rel=0.02)
    assert halfway[3].any()


def test_a_couch_may_be_wider_than_the_images(drawn):
    assert drawn([(3, 50)], 3.0, 4).layers[0][1].all()


@pytest.mark.parametrize("circle", [(-2, 10), (11, 10)])
def test_what_lies_on_no_plane_is_not_cut_off(drawn, circle):
    with pytest.raises(UnreadableFileError, match="outside the images"):
        drawn([(3, 10), circle], 3.0, 4)


def test_a_monai_label_folder_prefers_approved_labels_and_knows_their_names(tmp_path):
    labels = make_discs().flatten()[0].layers[0]
    for kind, stems in (("original", ("a", "b")), ("final", ("a",))):
        (tmp_path / "labels" / kind).mkdir(parents=True)
        for stem in stems:
            save_grid(tmp_path / "labels" / kind / f"{stem}.nii.gz", labels, GRID)
    for stem in "abc":
        save_grid(tmp_path / f"{stem}.nii.gz", labels.astype(np.int16), GRID)
    info = {"params": {"label_names": {"spleen": 1}}}
    index = {"objects": {"a": {"labels": {"final": {"ext": ".nii.gz", "info": info}}}}}
    (tmp_path / "datastore_v2.json").write_text(json.dumps(index))
    a, b = read_monai(tmp_path)
    assert (a.image.name, a.approved, a.names) == ("a.nii.gz", True, ((1, "spleen"),))
    assert (b.image.name, b.approved, b.labels.parent.name) == ("b.nii.gz", False, "original")
    spleen = read_monai_masks(a, GRID, load_anatomy()).segments[0]
    assert (spleen.name, spleen.code[0]) == ("spleen", "78961009")
    assert read_monai_masks(b, GRID).segments[0].origin == AUTOMATIC
    with pytest.raises(UnreadableFileError, match="labels/final"):
        read_monai(tmp_path / "labels")


def write_seg_nrrd(path, layers, keys, dtype=np.uint8):
    """Write layers (layer, plane, row, column) as 3D Slicer does, one alone without an axis of its own."""
    many = len(layers) > 1
    fields = {
        "type": "uchar" if dtype == np.uint8 else "ushort",
        "dimension": 4 if many else 3,
        "space": "left-posterior-superior",
        "sizes": " ".join(map(str, [*([len(layers)] if many else []), *layers[0].shape[::-1]])),
        "space directions": ("none " if many else "") + "(1,0,0) (0,1,0) (0,0,2)",
        "kinds": ("list " if many else "") + "domain domain domain",
        "endian": "little",
        "encoding": "gzip",
        "space origin": "(0,0,0)",
    }
    lines = [f"{name}: {value}" for name, value in fields.items()]
    lines += [f"{name}:={value}" for name, value in keys.items()]
    data = np.ascontiguousarray(np.stack(layers, -1), dtype).tobytes()
    path.write_bytes(("NRRD0004\n" + "\n".join(lines) + "\n\n").encode() + gzip.compress(data))
    return path


def named(**segments) -> dict[str, str]:
    return {
        f"Segment{k}_{key}": value
        for k, table in enumerate(segments.values())
        for key, value in table.items()
    }


def test_segments_of_old_slicers_have_a_layer_each_and_no_values(tmp_path):
    grid = Geometry((4, 5, 6), np.diag([2.0, 1, 1, 1])[[2, 1, 0, 3]])
    liver, spleen = np.zeros((2, *grid.shape), np.uint8)
    liver[1:3, 1:4, 1:4], spleen[2, 2:5, 2:5] = 1, 1
    keys = named(a={"ID": "x", "Name": "liver", "Extent": "0 5 0 4 0 3"}, b={"ID": "y", "Name": "spleen"})
    volume = read_masks(write_seg_nrrd(tmp_path / "a.seg.nrrd", [liver, spleen], keys), grid)
    assert [s.name for s in volume.segments] == ["liver", "spleen"]
    for segment, mask in zip(volume.segments, (liver, spleen), strict=True):
        assert np.array_equal(volume.mask(segment), mask)
    alone = read_masks(write_seg_nrrd(tmp_path / "b.seg.nrrd", [liver], named(a={"Name": "liver"})), grid)
    assert np.array_equal(alone.mask(alone.segments[0]), liver)


def test_voxels_that_no_segment_claims_are_kept_and_said(tmp_path):
    grid = Geometry((4, 5, 6), np.diag([2.0, 1, 1, 1])[[2, 1, 0, 3]])
    labels = np.arange(120, dtype=np.uint8).reshape(grid.shape) % 4
    keys = named(a={"Name": "liver", "LabelValue": "2", "Layer": "0"})
    volume = read_masks(write_seg_nrrd(tmp_path / "a.seg.nrrd", [labels], keys), grid)
    assert [(s.value, s.name) for s in volume.segments] == [
        (2, "liver"),
        (1, "structure 1"),
        (3, "structure 3"),
    ]
    assert np.array_equal(volume.layers[0], labels)
    assert "2 masks have no name" in volume.notes[0]
    keys["Segment0_Layer"] = "3"
    with pytest.raises(UnreadableFileError):
        read_masks(write_seg_nrrd(tmp_path / "b.seg.nrrd", [labels], keys), grid)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_table_that_excel_wrote_is_read(tmp_path, encoding):
    grid = Geometry((2, 3, 4), np.eye(4))
    save_grid(tmp_path / "a.nii.gz", np.full(grid.shape, 7, np.uint8), grid)
    (tmp_path / "a.tsv").write_bytes("index\tname\r\n7\tliver\r\n\t\r\n".encode(encoding))
    assert [s.name for s in read_masks(tmp_path / "a.nii.gz", grid).segments] == ["liver"]


def test_parts_drawn_a_little_apart_in_height_are_of_one_plane(drawn):
    ring = drawn([(15.0, 20), (15.3, 10)], 5.0, 8).layers[0]
    assert ring[3].sum() == pytest.approx(np.pi * 300, rel=0.03)
