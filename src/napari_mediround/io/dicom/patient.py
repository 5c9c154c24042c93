"""Whose image a file is, so that one patient's images stay together. What is read here is never written."""

from __future__ import annotations

from pathlib import Path

import pydicom
from pydicom.errors import InvalidDicomError


def read_patient(path: Path) -> str:
    """Return issuer and patient ID of a DICOM file, or of the first in a folder; "" for any other file."""
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    tags = ["PatientID", "IssuerOfPatientID"]
    for file in files:
        try:
            header = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=tags)
        except (InvalidDicomError, OSError, ValueError, EOFError, AttributeError):
            continue
        identity = str(header.get("PatientID", "") or "").strip()
        return f"{header.get('IssuerOfPatientID', '')}/{identity}" if identity else ""
    return ""
