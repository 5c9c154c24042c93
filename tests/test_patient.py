"""Whose image a file is."""

from __future__ import annotations

import pydicom
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from napari_mediround.io.dicom.patient import read_patient


def write_header(path, patient: str, issuer: str = "") -> None:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = generate_uid(), generate_uid()
    header = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    header.PatientID = patient
    if issuer:
        header.IssuerOfPatientID = issuer
    pydicom.dcmwrite(path, header)


def test_a_file_and_a_folder_say_whose_they_are(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a/README").write_text("not DICOM")
    write_header(tmp_path / "a/x.dcm", " 77 ", "north")
    assert read_patient(tmp_path / "a/x.dcm") == read_patient(tmp_path / "a") == "north/77"


def test_the_same_number_of_another_hospital_is_another_patient(tmp_path):
    write_header(tmp_path / "x.dcm", "77", "north")
    write_header(tmp_path / "y.dcm", "77", "south")
    assert read_patient(tmp_path / "x.dcm") != read_patient(tmp_path / "y.dcm")


def test_no_number_no_dicom_and_no_file_say_nothing(tmp_path):
    write_header(tmp_path / "x.dcm", "", "north")
    (tmp_path / "y.png").write_bytes(b"\x89PNG")
    assert [read_patient(tmp_path / name) for name in ("x.dcm", "y.png", "z.dcm")] == [""] * 3
