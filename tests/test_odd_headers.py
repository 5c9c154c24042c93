"""Exports from images with odd headers: a file that reads back, or a refusal in words; never a traceback."""

from __future__ import annotations

import pydicom
import pytest
from exports import write_series
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement
from test_export import GRID, make_discs

from napari_mediround.errors import MediRoundError, MismatchError
from napari_mediround.io import read_study
from napari_mediround.io.export import Options, export

FORMS = ("dicom-seg", "dicom-labelmap", "rtstruct")
KEYWORDS = (
    "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID",
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "PatientAge", "PatientWeight", "StudyDate",
    "StudyTime", "StudyID", "AccessionNumber", "ReferringPhysicianName", "StudyDescription", "Modality",
    "SpecificCharacterSet", "PositionReferenceIndicator", "SliceThickness", "SpacingBetweenSlices",
    "NumberOfFrames", "ImageType", "InstanceNumber", "SeriesNumber", "BitsAllocated", "LossyImageCompression",
    "ContentDate", "PatientIdentityRemoved", "DeidentificationMethodCodeSequence", "ReferencedImageSequence",
    "SharedFunctionalGroupsSequence", "PixelSpacing", "ImageOrientationPatient", "Manufacturer",
    "IssuerOfPatientID", "EthnicGroup", "ClinicalTrialSubjectID", "SpecimenDescriptionSequence",
    "ContainerIdentifier", "Rows", "Columns", "ConsultingPhysicianName", "PatientComments",
)  # fmt: skip
ODD = (None, "", "x", "1.2.3.4.5.6.7", "A^B\\C^D", "20269999", "-1", "0", "é" * 70, "=" * 4, "1e400", "NaN")
few = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


def spoil(series, keyword: str, value: str | None, which: slice) -> None:
    """Give an element of some images a value, or take it out."""
    for path in sorted(series.iterdir())[which]:
        dataset = pydicom.dcmread(path)
        dataset.pop(keyword, None)
        if value is not None:
            vr = dictionary_VR(keyword).split(" or ")[0]
            vr = "LO" if vr in ("SQ", "US", "DS", "IS") else vr
            parts = value.split("\\") if "\\" in value else value
            odd = DataElement(keyword, vr, parts, validation_mode=pydicom.config.IGNORE)
            dataset[odd.tag] = odd
        dataset.save_as(path)


@pytest.mark.filterwarnings("ignore")
@few
@given(
    keyword=st.sampled_from(KEYWORDS),
    value=st.sampled_from(ODD),
    which=st.sampled_from((slice(None), slice(1), slice(1, None))),
    form=st.sampled_from(FORMS),
    key=st.sampled_from(("", "k" * 32)),
)
def test_a_file_or_one_line(tmp_path_factory, keyword, value, which, form, key):
    folder = tmp_path_factory.mktemp("odd")
    series = write_series(folder / "series", GRID)
    spoil(series, keyword, value, which)
    options = Options(dicom=series, key=key, with_images=bool(key))
    try:
        grid = read_study(series).source_geometry
        assert export(make_discs(grid, overlapping=False), folder / "a.dcm", form, options).ok
    except MismatchError as error:
        raise AssertionError(str(error)) from error
    except MediRoundError:
        assert sorted(path.name for path in folder.iterdir()) == ["series"]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("keyword", "value", "which", "words"), [
    ("StudyInstanceUID", None, slice(None), "do not say their StudyInstanceUID"),
    ("SOPInstanceUID", "1.2.3", slice(None), "carry one SOPInstanceUID"),
    ("StudyInstanceUID", "1.2.3", slice(1), "differ in StudyInstanceUID"),
    ("FrameOfReferenceUID", "1.2.3", slice(1), "differ in FrameOfReferenceUID"),
    ("PatientID", "another", slice(1), "differ in PatientID"),
])  # fmt: skip
def test_what_dicom_masks_cannot_refer_to_is_refused_by_name(tmp_path, form, keyword, value, which, words):
    series = write_series(tmp_path / "series", GRID)
    spoil(series, keyword, value, which)
    with pytest.raises(MediRoundError, match=words):
        export(make_discs(overlapping=False), tmp_path / "a.dcm", form, Options(dicom=series))


@pytest.mark.parametrize("form", FORMS)
def test_two_names_of_a_patient_are_emptied_and_said(tmp_path, form):
    series = write_series(tmp_path / "series", GRID)
    spoil(series, "PatientName", "A^B\\C^D", slice(None))
    receipt = export(make_discs(overlapping=False), tmp_path / "a.dcm", form, Options(dicom=series))
    assert pydicom.dcmread(tmp_path / "a.dcm").PatientName == ""
    assert any("no valid PatientName" in note for note in receipt.notes)


def test_the_frame_of_the_others_stands_where_some_images_name_none(tmp_path):
    series = write_series(tmp_path / "series", GRID)
    spoil(series, "FrameOfReferenceUID", None, slice(1))
    receipt = export(make_discs(), tmp_path / "a.dcm", options=Options(dicom=series))
    assert pydicom.dcmread(tmp_path / "a.dcm").FrameOfReferenceUID == GRID.frame_of_reference_uid
    assert any("that of the others" in note for note in receipt.notes)
