"""Segments in the words of DICOM's code sets. Every code is one that `pydicom.sr` lists; none is made up."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache

from pydicom.dataset import Dataset
from pydicom.sr import _concepts_dict
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from napari_mediround.domain.anatomy import Anatomy
from napari_mediround.domain.rounds import Imported
from napari_mediround.domain.segments import MANUAL, ORIGINS, STANDINGS, Segment

_ABNORMAL = re.compile(
    r"lesion|tumou?r|metasta|carcinoma|cancer|neoplas|polyp|nodule|cyst|mass\b|infarct|h(?:a)?emorrhage|plaque"
)
_SIDES = {"left": codes.SCT.Left, "right": codes.SCT.Right}

GENERAL_TYPES = (codes.SCT.Tissue.value, codes.SCT.Lesion.value)
"""Types that say no more than the category: what a segment without a code of its own gets."""


def category_code(segment: Segment) -> Code:
    """Return the segmented property category (CID 7150).

    What a name calls a lesion is a morphologically abnormal structure, what else has a code an anatomical
    structure, and the rest, as in 3D Slicer, tissue.
    """
    if _ABNORMAL.search(segment.name.casefold()):
        return codes.SCT.MorphologicallyAbnormalStructure
    return codes.SCT.AnatomicalStructure if segment.code else codes.SCT.Tissue


def type_code(segment: Segment) -> Code:
    """Return the segmented property type (CID 7151): the segment's own code, else a general one."""
    if segment.code:
        return Code(segment.code[0], "SCT", segment.code[1])
    abnormal = category_code(segment) == codes.SCT.MorphologicallyAbnormalStructure
    return codes.SCT.Lesion if abnormal else codes.SCT.Tissue


def side_code(segment: Segment) -> Code | None:
    """Return the laterality (CID 244), or None."""
    return _SIDES.get(segment.side)


def code_to_item(code: Code) -> Dataset:
    """Return a code as an item of a code sequence."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator = code.value, code.scheme_designator
    item.CodeMeaning = code.meaning
    return item


def type_to_item(segment: Segment) -> Dataset:
    """Return a segment's type, its side as a modifier, as an item of a code sequence."""
    item = code_to_item(type_code(segment))
    if side := side_code(segment):
        item.SegmentedPropertyTypeModifierCodeSequence = [code_to_item(side)]
    return item


def read_type(item: Dataset) -> dict:
    """Return code and side of a type's item, as fields of `Segment`; those that say nothing are left out."""
    known: dict = {}
    value, scheme = str(item.get("CodeValue") or ""), item.get("CodingSchemeDesignator")
    if scheme == "SCT" and value and value not in GENERAL_TYPES:
        known["code"] = (value, str(item.get("CodeMeaning") or ""))
    modifiers = [str(m.get("CodeValue")) for m in item.get("SegmentedPropertyTypeModifierCodeSequence") or ()]
    if sides := [side for side, code in _SIDES.items() if code.value in modifiers]:
        known["side"] = sides[0]
    return known


def read_origin(text: object) -> str:
    """Return how a mask came to be, as a file says it; what it does not say was drawn by someone."""
    origin = str(text or "").strip()
    return origin if origin in ORIGINS else MANUAL


def said_of(imported: Imported | None, name: str, anatomy: Anatomy) -> dict:
    """Return fields of `Segment` for a mask of the record: of an imported one what its file said.

    The anatomy's own code and side stay where it knows the name.
    """
    if imported is None:
        return {}
    meaning = _meanings().get(imported.code)
    if anatomy.find(name) is not None or meaning is None:
        return {"foreign": True}
    return {"foreign": True, "code": (imported.code, meaning), "side": imported.side}


def known_code(code: tuple[str, str] | None) -> str:
    """Return the value of a code that pydicom lists, "" for any other: it may be anything."""
    return code[0] if code is not None and code[0] in _meanings() else ""


@cache
def _meanings() -> dict[str, str]:
    """Return the meaning of each SNOMED CT code that pydicom lists."""
    concepts = _concepts_dict.concepts["SCT"].values()
    return {value: meaning for codes_ in concepts for value, (meaning, *_) in codes_.items()}


def standing(segment: Segment, unknown: str = "n/a") -> tuple[str, str]:
    """Return verdict and quality of a mask as cells of a table."""
    quality = unknown if segment.quality is None else f"{segment.quality:.4f}"
    return segment.verdict or unknown, quality


def read_standing(row: Mapping[str, str]) -> dict:
    """Return verdict and quality of a row, as fields of `Segment`; those that say nothing are left out."""
    known: dict = {}
    if row.get("verdict") in STANDINGS[1:]:
        known["verdict"] = row["verdict"]
    try:
        quality = float(row.get("quality") or "")
    except ValueError:
        return known
    return known | {"quality": quality} if 0 <= quality <= 1 else known
