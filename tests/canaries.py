"""DICOM images with canaries: a made-up word, number or date in every place where a name could hide."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pydicom
from pydicom.datadict import DicomDictionary
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.tag import Tag
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
    RLELossless,
    generate_uid,
)

from napari_mediround.errors import UnreadableFileError
from napari_mediround.io.export import kept
from napari_mediround.io.export.deidentify import deidentify_file

MARK = "QZCNRY"
TEXTS = ("AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT")
BYTES = ("OB", "OW", "UN", "OL", "OV", "OF", "OD")
KINDS = (ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian,
         RLELossless, JPEGBaseline8Bit)  # fmt: skip
_KEEP_AS_IS = {
    *("SOPClassUID", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
    *("SamplesPerPixel", "PhotometricInterpretation", "PixelData", "NumberOfFrames", "RescaleSlope"),
    *("RescaleIntercept", "PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient"),
    *("FloatPixelData", "DoubleFloatPixelData", "PlanarConfiguration", "SpecificCharacterSet"),
    *("DataSetTrailingPadding", "LengthToEnd", "ModalityLUTSequence", "ExtendedOffsetTable"),
    *(
        "ExtendedOffsetTableLengths",
        "SharedFunctionalGroupsSequence",
        "EncapsulatedPixelDataValueTotalLength",
    ),
}
_PLANTABLE = [
    (tag, vr.split(" or ")[0], keyword)
    for tag, (vr, _, _, _, keyword) in DicomDictionary.items()
    if keyword and tag >> 16 > 2 and keyword not in _KEEP_AS_IS and vr not in ("NONE", "SQ", "AT", "")
]
_SEQUENCES = [tag for tag, (vr, _, _, _, keyword) in DicomDictionary.items()
              if vr == "SQ" and keyword not in _KEEP_AS_IS]  # fmt: skip


@dataclass
class Planter:
    """Plants canaries into data sets and knows which."""

    seed: int
    count: int = 0
    numbers: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)

    def word(self) -> str:
        """Return a fresh word of capitals."""
        self.count += 1
        return f"{MARK}{self.seed % 1000:03d}X{self.count}"[:16]

    def value(self, vr: str) -> object:
        """Return a canary of a kind of value."""
        if vr in TEXTS:
            return self.word()
        if vr in BYTES:
            return (self.word().encode() * 4)[:16]
        self.count += 1
        number = f"{self.random.randrange(10**8, 10**9)}"
        made = {
            "UI": f"1.2.99.{number}",
            "DA": f"{self.random.randrange(1901, 1999)}{self.random.randrange(1, 13):02d}17",
            "TM": f"{self.random.randrange(24):02d}{self.random.randrange(60):02d}37.{number[:6]}",
            "DT": f"19{self.random.randrange(10, 99)}0417{self.random.randrange(10, 24)}3741.{number[:6]}",
            "AS": f"{self.random.randrange(1, 120):03d}Y",
            "IS": f"1{number}",
            "DS": f"{number}.{number[:3]}",
        }
        if vr not in made:
            return (
                int(number) % 30000 + 7
                if vr in ("US", "SS")
                else float(number)
                if vr in ("FL", "FD")
                else int(number)
            )
        self.numbers.add(made[vr])
        return made[vr]

    def plant(self, dataset: Dataset, count: int, depth: int = 0) -> None:
        """Put canaries into elements of the standard, of any group, at any depth."""
        for _ in range(count):
            if depth < 4 and self.random.random() < 0.15:
                tag = self.random.choice(_SEQUENCES)
                item = Dataset()
                self.plant(item, 4, depth + 1)
                before = list(dataset[tag].value) if tag in dataset else []
                dataset.add_new(tag, "SQ", [*before, item])
                continue
            tag, vr, keyword = self.random.choice(_PLANTABLE)
            listed = keyword in kept.NUMBERS or keyword in kept.COUNTERS
            if listed or self.random.random() < 0.05:
                vr = self.random.choice(TEXTS)
            value = self.value(vr)
            if self.random.random() < 0.1 and vr in ("LO", "SH", "CS", "PN", "UI"):
                value = [value, self.value(vr)]
            dataset[tag] = DataElement(tag, vr, value, validation_mode=pydicom.config.IGNORE)

    def plant_elsewhere(self, dataset: Dataset) -> None:
        """Put canaries into private blocks, overlays, curves, unknown groups, codes and lookup tables."""
        for group in (0x0009, 0x0029, 0x7FE1, 0x6001):
            block = dataset.private_block(group, self.word(), create=True)
            block.add_new(1, "LO", self.word())
            block.add_new(2, "OB", self.value("OB"))
            item = Dataset()
            item.PatientComments = self.word()
            block.add_new(3, "SQ", [item])
        for group in (0x6000, 0x6002, 0x601E, 0x5000, 0x501E, 0x6FFE):
            for element, vr in ((0x22, "LO"), (0x1500, "LO"), (0x3000, "OB"), (0x4000, "LT"), (0x40, "CS")):
                tag = Tag(group, element)
                dataset[tag] = DataElement(tag, vr, self.value(vr), validation_mode=pydicom.config.IGNORE)
        code = Dataset()
        code.CodeValue, code.CodingSchemeDesignator = "64033007", "SCT"
        code.CodeMeaning, code.MappingResource = self.word(), self.word()
        other = Dataset()
        other.CodeValue, other.CodingSchemeDesignator, other.CodeMeaning = self.word(), "99X", self.word()
        dataset.AnatomicRegionSequence = [code, other]
        table = Dataset()
        table.LUTDescriptor, table.LUTExplanation = [2, 0, 16], self.word()
        table.add_new(0x00283006, "OW", b"\0\0\1\0" + self.value("OW"))
        dataset.VOILUTSequence = [table]
        dataset.add_new(0xFFFCFFFC, "OB", self.value("OB"))


def make_image(folder: Path, seed: int, count: int) -> tuple[Path, np.ndarray, Planter]:
    """Write an image with about `count` canaries; return it, its true stored values and the planter."""
    planter = Planter(seed)
    syntax = KINDS[seed % len(KINDS)]
    rng = np.random.default_rng(seed)
    eight = syntax == JPEGBaseline8Bit
    values = rng.integers(0, 256 if eight else 4096, (24, 32)).astype(np.uint8 if eight else np.uint16)
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    planter.plant(dataset, count)
    planter.plant_elsewhere(dataset)
    for keyword, value in {
        "SOPClassUID": "1.2.840.10008.5.1.4.1.1.2", "Modality": "CT", "Rows": 24, "Columns": 32,
        "SOPInstanceUID": generate_uid(), "SeriesInstanceUID": generate_uid(), "SamplesPerPixel": 1,
        "StudyInstanceUID": generate_uid(), "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": 8 if eight else 16, "BitsStored": 8 if eight else 12, "HighBit": 7 if eight else 11,
        "PixelRepresentation": 0, "RescaleSlope": "1", "RescaleIntercept": "-1024",
        "PixelSpacing": [0.75, 0.75], "ImagePositionPatient": [1, 2, 3.5],
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0], "PatientName": planter.word(),
    }.items():  # fmt: skip
        setattr(dataset, keyword, value)
    planter.count += 1
    dataset.file_meta.TransferSyntaxUID = syntax
    for keyword in (
        "SourceApplicationEntityTitle",
        "ImplementationVersionName",
        "SendingApplicationEntityTitle",
    ):
        setattr(dataset.file_meta, keyword, planter.word())
    dataset.file_meta.PrivateInformationCreatorUID = planter.value("UI")
    dataset.file_meta.PrivateInformation = planter.value("OB")
    dataset.preamble = (planter.word().encode() * 8)[:128].ljust(128, b"\0")
    _add_pixels(dataset, values, syntax, planter)
    path = folder / f"{seed}.dcm"
    dataset.save_as(path, enforce_file_format=True)
    return path, values, planter


def _add_pixels(dataset: Dataset, values: np.ndarray, syntax: str, planter: Planter) -> None:
    """Add pixels with canaries in their spare bits, behind them, or in the packed frames."""
    hidden = planter.word().encode()
    if syntax == JPEGBaseline8Bit:
        from io import BytesIO

        from PIL import Image

        stream = BytesIO()
        Image.fromarray(values).save(stream, "JPEG", quality=95, comment=hidden, exif=b"Exif\0\0" + hidden)
        dataset.PixelData = encapsulate([stream.getvalue() + hidden])
    elif syntax == RLELossless:
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.PixelData = values.tobytes()
        dataset.compress(RLELossless, encoding_plugin="pydicom", generate_instance_uid=False)
        dataset.PixelData = encapsulate(
            [*pydicom.encaps.generate_frames(dataset.PixelData, number_of_frames=1)]
        )
    else:
        bits = np.unpackbits(np.frombuffer(hidden, np.uint8))[: values.size // 4]
        spare = values.copy().ravel()
        nibbles = bits.reshape(-1, 4) @ [8, 4, 2, 1]
        spare[: len(nibbles)] |= nibbles.astype(np.uint16) << 12
        order = ">u2" if syntax == ExplicitVRBigEndian else "<u2"
        dataset.PixelData = spare.astype(order).tobytes() + hidden.ljust(18, b"\0")
    dataset["PixelData"].VR = "OB" if syntax in (JPEGBaseline8Bit, RLELossless) else "OW"


def find_canaries(path: Path, planter: Planter) -> list[str]:
    """Return where a file still holds something that was planted."""
    raw = path.read_bytes()
    found = [f"raw {MARK}"] if MARK.encode() in raw or MARK.encode("utf-16-le") in raw else []
    swapped = np.frombuffer(raw[: len(raw) // 2 * 2], "<u2").byteswap().tobytes()
    found += ["swapped"] * (MARK.encode() in swapped)
    dataset = pydicom.dcmread(path)
    found += ["preamble"] * (dataset.preamble != bytes(128))
    for whole in (dataset, dataset.file_meta):
        for element in whole.iterall():
            text = str(element.value)
            if element.tag.is_private or element.tag.group & 0xFF00 in (0x6000, 0x5000):
                found.append(f"{element.tag}")
            if element.VR != "SQ" and any(part in planter.numbers for part in _parts(element.value)):
                found.append(f"{element.tag} {element.keyword} {element.VR} {text[:40]}")
    return found


def _parts(value: object) -> list[str]:
    several = value if isinstance(value, (list, pydicom.multival.MultiValue)) else [value]
    return [str(part) for part in several]


def check_copies(folder: Path, wanted: int, each: int = 120) -> tuple[int, int, int, list[str]]:
    """De-identify images until so many canaries were planted; return canaries, files, refusals and faults."""
    planted = refused = seed = 0
    faults: list[str] = []
    copy = folder / "copy.dcm"
    while planted < wanted:
        path, values, planter = make_image(folder, seed, each)
        planted, seed = planted + planter.count, seed + 1
        try:
            deidentify_file(path, copy, "k" * 32)
        except UnreadableFileError:  # a canary stood where the meaning of the pixels stands
            refused += 1
            continue
        finally:
            path.unlink()
        faults += [f"{path.name}: {place}" for place in find_canaries(copy, planter)]
        lossy = KINDS[(seed - 1) % len(KINDS)] == JPEGBaseline8Bit
        if not lossy and not np.array_equal(pydicom.dcmread(copy).pixel_array, values):
            faults.append(f"{path.name}: other pixels")
    return planted, seed, refused, faults
