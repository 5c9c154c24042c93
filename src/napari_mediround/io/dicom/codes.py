"""The closed lists that header text is held against before it goes anywhere. Knows no file format.

A header is written by whoever made the file. Of its text only what these lists know passes on, to names,
messages, the record and the model: a modality, and identifiers made of digits and dots.
"""

from __future__ import annotations

import hashlib
import re

# fmt: off
MODALITIES = frozenset((
    "BI", "BMD", "CR", "CT", "DX", "ES", "GM", "IO", "IVOCT", "IVUS", "LS", "MG", "MR", "NM", "OAM", "OCT",
    "OP", "OPT", "OPTENF", "OT", "PT", "PX", "RF", "RG", "RTIMAGE", "SM", "TG", "US", "XA", "XC",
))
# fmt: on
"""Modalities of images: DICOM PS3.3 C.7.3.1.1.1, those with pixels."""

_UID = re.compile(r"[0-9]+(\.[0-9]+)*")
_LONGEST_UID = 64


def read_modality(text: object) -> str:
    """Return the modality that a header names, or "" for anything that is not in `MODALITIES`."""
    code = str(text or "").strip().upper()
    return code if code in MODALITIES else ""


def read_uid(text: object) -> str:
    """Return an identifier of a header, "" where there is none.

    One that breaks the rules (PS3.5 9.1: digits and dots, at most 64) is replaced by one computed from it
    (``2.25.…``), so that what belonged together still does and no text passes (form: PS3.5 B.2).
    """
    said = str(text or "").strip("\0 ")
    if len(said) <= _LONGEST_UID and _UID.fullmatch(said):
        return said
    if not said:
        return ""
    return f"2.25.{int.from_bytes(hashlib.sha256(said.encode('utf-8', 'surrogatepass')).digest()[:16])}"
