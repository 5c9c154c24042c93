"""Small whole image files, and endless ways to spoil them. Calls no reader of ours.

`make_case(kind, number)` is a function of its arguments alone, so that a failure can be made again.
"""

from __future__ import annotations

import gzip
import io
import random
import struct
import tempfile
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path

import gdcm
import nibabel
import numpy as np
import pydicom
import SimpleITK
from PIL import Image
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
)

KINDS = ("dicom", "nifti", "nrrd", "metaimage")
"""The formats of `make_case`."""

_SUFFIXES = {"dicom": ".dcm", "nifti": ".nii", "nrrd": ".nrrd", "metaimage": ".mha"}

NUMBERS = (0.0, -0.0, -1.0, 1e-30, 1e30, -1e30, 3.4e38, float("nan"), float("inf"), float("-inf"), 65535, 1e9)
TEXTS = (b"nan", b"inf", b"-inf", b"0", b"-1", b"1e400", b"1e-320", b"999999999999", b"", b"x", b"1;2", b"()")


def _header(uid: str = "1.2.840.10008.5.1.4.1.1.2", **values) -> Dataset:
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID, dataset.Modality = uid, "1.2.3.4", "CT"
    dataset.SeriesInstanceUID, dataset.StudyInstanceUID = "1.2.3.5", "1.2.3.6"
    dataset.FrameOfReferenceUID, dataset.PatientName = "1.2.3.7", "Doe^Jane"
    dataset.ImagePositionPatient = [-100.5, 20.25, 7]
    dataset.ImageOrientationPatient, dataset.PixelSpacing = [1, 0, 0, 0, 1, 0], [0.5, 0.75]
    dataset.SliceThickness, dataset.InstanceNumber = 5, 1
    dataset.RescaleSlope, dataset.RescaleIntercept = 1, -1024
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset


def _image(dataset: Dataset, pixels: np.ndarray, photometric: str = "MONOCHROME2") -> Dataset:
    dataset.SamplesPerPixel = 3 if pixels.shape[-1] == 3 else 1
    dataset.Rows, dataset.Columns = pixels.shape[-3:-1] if pixels.shape[-1] == 3 else pixels.shape[-2:]
    dataset.PhotometricInterpretation, dataset.PixelRepresentation = photometric, 0
    if pixels.shape[-1] == 3:
        dataset.PlanarConfiguration = 0
    dataset.BitsAllocated = dataset.BitsStored = pixels.dtype.itemsize * 8
    dataset.HighBit, dataset.PixelData = dataset.BitsStored - 1, pixels.tobytes()
    return dataset


def _save(dataset: Dataset, syntax: str = ExplicitVRLittleEndian) -> bytes:
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    if syntax in (RLELossless, JPEG2000Lossless, JPEGLSLossless):
        dataset.compress(syntax)
    elif syntax == ExplicitVRBigEndian:
        dataset.PixelData = np.frombuffer(dataset.PixelData, "<u2").astype(">u2").tobytes()
    dataset.file_meta.TransferSyntaxUID = syntax
    file = io.BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    return file.getvalue()


def _enhanced(frames: int = 4) -> Dataset:
    dataset = _header("1.2.840.10008.5.1.4.1.1.4.1", NumberOfFrames=frames, Modality="MR")
    shared, measures, direction = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = [2, 2], 3
    direction.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [direction]
    dataset.SharedFunctionalGroupsSequence, dataset.PerFrameFunctionalGroupsSequence = [shared], []
    for k in range(frames):
        frame, place = Dataset(), Dataset()
        place.ImagePositionPatient = [0, 0, 3 * k]
        frame.PlanePositionSequence = [place]
        dataset.PerFrameFunctionalGroupsSequence.append(frame)
    return dataset


def _palette() -> Dataset:
    dataset = _header("1.2.840.10008.5.1.4.1.1.7")
    for colour in ("Red", "Green", "Blue"):
        setattr(dataset, f"{colour}PaletteColorLookupTableDescriptor", [256, 0, 8])
        setattr(dataset, f"{colour}PaletteColorLookupTableData", bytes(range(256)))
    return dataset


def _with_lut() -> Dataset:
    item = Dataset()
    item.LUTDescriptor, item.ModalityLUTType = [256, 0, 16], "OD"
    item.add_new("LUTData", "OW", struct.pack("<256H", *range(256)))
    dataset = _header("1.2.840.10008.5.1.4.1.1.1", Modality="CR", ImagerPixelSpacing=[0.2, 0.2])
    del dataset.RescaleSlope, dataset.RescaleIntercept
    dataset.ModalityLUTSequence = [item]
    return dataset


def _to_lossless_jpeg(data: bytes) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        paths = [str(Path(folder, name)) for name in "ab"]
        Path(paths[0]).write_bytes(data)
        reader, change, writer = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax(), gdcm.ImageWriter()
        reader.SetFileName(paths[0])
        reader.Read()
        change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGLosslessProcess14_1))
        change.SetInput(reader.GetImage())
        change.Change()
        writer.SetFileName(paths[1])
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        writer.Write()
        return Path(paths[1]).read_bytes()


def _dicom_seeds() -> list[bytes]:
    rng = np.random.default_rng(0)
    grey, byte = rng.integers(0, 1000, (16, 24), np.uint16), rng.integers(0, 255, (16, 24), np.uint8)
    colour, stack = rng.integers(0, 255, (16, 24, 3), np.uint8), rng.integers(0, 99, (4, 12, 10), np.uint16)
    large = rng.integers(0, 1000, (48, 64), np.uint16)
    plain = (ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian)
    seeds = [_save(_image(_header(), grey), syntax) for syntax in (*plain, DeflatedExplicitVRLittleEndian)]
    seeds += [
        _save(_image(_header(), large), syntax) for syntax in (RLELossless, JPEG2000Lossless, JPEGLSLossless)
    ]
    seeds += [_to_lossless_jpeg(seeds[0]), _to_lossless_jpeg(_save(_image(_header(), byte)))]
    seeds += [_save(_image(_enhanced(), stack), syntax) for syntax in (ExplicitVRLittleEndian, RLELossless)]
    seeds += [_save(_image(_header(), colour, "RGB")), _save(_image(_palette(), byte, "PALETTE COLOR"))]
    seeds += [_save(_image(_with_lut(), byte, "MONOCHROME1"))]
    jpeg, file = _image(_header(), rng.integers(0, 255, (48, 64), np.uint8)), io.BytesIO()
    Image.fromarray(np.frombuffer(jpeg.PixelData, np.uint8).reshape(48, 64)).save(file, "JPEG")
    jpeg.PixelData = encapsulate([file.getvalue()])
    jpeg["PixelData"].is_undefined_length = True
    return [*seeds, _save(jpeg, JPEGBaseline8Bit)]


def _nifti_seeds() -> list[bytes]:
    rng = np.random.default_rng(1)
    turned = np.array([[0.0, -1.5, 0, 10], [1.5, 0, 0, -20], [0, 0, 3, 5], [0, 0, 0, 1]])
    grey, made = rng.integers(-1000, 999, (7, 6, 5), np.int16), []
    scaled = nibabel.Nifti1Image(grey, turned)
    scaled.header.set_slope_inter(0.5, 3)
    noted = nibabel.Nifti1Image(grey, turned)
    noted.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"Doe, Jane"))
    rgb = np.zeros((4, 5, 3), np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")]))
    made += [nibabel.Nifti1Image(grey, turned), scaled, noted, nibabel.Nifti1Image(rgb, np.eye(4))]
    made += [nibabel.Nifti1Image(rng.random((4, 4, 3, 2)), turned), nibabel.Nifti2Image(grey, turned)]
    made += [nibabel.Nifti1Image(grey.astype(kind), np.eye(4)) for kind in (np.uint8, np.float32, ">i4")]
    return [image.to_bytes() for image in made]


def _itk_seeds(suffix: str) -> list[bytes]:
    rng = np.random.default_rng(2)
    image = SimpleITK.GetImageFromArray(rng.integers(0, 500, (4, 5, 6)).astype(np.int16))
    image.SetSpacing((0.7, 0.9, 3.0))
    image.SetOrigin((-20.5, 11.25, 7.0))
    image.SetDirection(SimpleITK.Euler3DTransform((0, 0, 0), 0.1, -0.2, 0.3).GetMatrix())
    vector = SimpleITK.GetImageFromArray(rng.random((3, 4, 5, 2)).astype(np.float32), isVector=True)
    seeds = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"a{suffix}")
        for what, packed in ((image, False), (image, True), (vector, False)):
            SimpleITK.WriteImage(what, str(path), packed)
            seeds.append(path.read_bytes())
    return seeds


@cache
def seeds(kind: str) -> tuple[bytes, ...]:
    """Return the whole files that the cases of a kind are made from."""
    makers = {"dicom": _dicom_seeds, "nifti": _nifti_seeds}
    return tuple(makers[kind]() if kind in makers else _itk_seeds(_SUFFIXES[kind]))


def _flip(data: bytes, rng: random.Random) -> bytes:
    spoilt = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8, 32))):
        spoilt[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(spoilt)


def _flip_header(data: bytes, rng: random.Random) -> bytes:
    head = min(len(data), rng.choice((400, 900)))
    return _flip(data[:head], rng) + data[head:]


def _cut(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data))]


def _overwrite(data: bytes, rng: random.Random) -> bytes:
    at, run = rng.randrange(len(data)), rng.choice((1, 2, 4, 8, 64))
    return data[:at] + rng.choice((b"\0", b"\xff", b"\x7f", b"A")) * run + data[at + run :]


def _repeat(data: bytes, rng: random.Random) -> bytes:
    start, run = rng.randrange(len(data)), rng.randrange(1, 200)
    at = rng.randrange(len(data))
    return data[:at] + data[start : start + run] * rng.choice((1, 1, 50)) + data[at:]


def _drop(data: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(data))
    return data[:at] + data[at + rng.randrange(1, 100) :]


GENERIC: tuple[Callable, ...] = (_flip, _flip, _flip_header, _flip_header, _cut, _overwrite, _repeat, _drop)


def _dicom_lengths(data: bytes, rng: random.Random) -> bytes:
    """Overwrite the 2 or 4 bytes after a VR, where lengths stand."""
    spots = [i for i in range(132, len(data) - 8) if data[i : i + 2].isalpha() and data[i : i + 2].isupper()]
    at = rng.choice(spots[:80] or [200]) + 2
    width = rng.choice((2, 4, 6))
    value = rng.choice(
        (b"\xff" * 6, b"\0" * 6, b"\0\0\xff\xff\xff\x7f", b"\1\0\1\0\1\0", b"\xfe\xff\xfe\xff\xfe\xff")
    )
    return data[:at] + value[:width] + data[at + width :]


def _dicom_vrs(data: bytes, rng: random.Random) -> bytes:
    spots = [i for i in range(132, len(data) - 8) if data[i : i + 2].isalpha() and data[i : i + 2].isupper()]
    at = rng.choice(spots[:80] or [200])
    vr = rng.choice(
        (b"UN", b"OB", b"OW", b"SQ", b"DS", b"IS", b"US", b"FD", b"AT", b"PN", b"LO", b"OV", b"zz")
    )
    return data[:at] + vr + data[at + 2 :]


_TAGS = (
    "Rows",
    "Columns",
    "NumberOfFrames",
    "SamplesPerPixel",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "SliceThickness",
    "SpacingBetweenSlices",
    "RescaleSlope",
    "RescaleIntercept",
    "PhotometricInterpretation",
    "Modality",
    "PlanarConfiguration",
    "InstanceNumber",
    "ImagerPixelSpacing",
)


def _dicom_values(data: bytes, rng: random.Random) -> bytes:
    """Give an attribute a value that no image has, written past every check of pydicom's."""
    dataset = pydicom.dcmread(io.BytesIO(data))
    keyword = rng.choice(_TAGS)
    tag, owner = pydicom.tag.Tag(keyword), dataset
    for groups in ("PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence"):
        for item in dataset.get(groups, ())[:1]:
            for element in item:
                if keyword in element.value[0]:
                    owner = element.value[0]
    vr = pydicom.datadict.dictionary_VR(tag)
    count = max(getattr(owner.get(tag), "VM", 1), 1) if tag in owner else rng.choice((1, 2, 3, 6))
    if vr == "US":
        raw = struct.pack("<H", rng.choice((0, 1, 2, 3, 7, 12, 64, 255, 4096, 32767, 65535))) * rng.choice(
            (1, 1, 2)
        )
    else:
        odd = [rng.choice(TEXTS), rng.choice(TEXTS), b"1", b"0.5", b"-1", b"2"]
        raw = b"\\".join(rng.choice(odd) for _ in range(rng.choice((count, count, count, 1, 7))))
        raw += b" " * (len(raw) % 2)
    written = "UN" if rng.random() < 0.1 else vr
    owner[tag] = RawDataElement(tag, written, len(raw), raw, 0, *dataset.original_encoding, True)
    file = io.BytesIO()
    dataset.save_as(file)
    return file.getvalue()


def _dicom_deep(data: bytes, rng: random.Random) -> bytes:
    """Put sequences inside sequences at the end of the header, a few or very many."""
    depth = rng.choice((3, 50, 500, 5000, 50000))
    tag = struct.pack("<HH2sHI", 0x0040, 0x0275, b"SQ", 0, 0xFFFFFFFF)
    item = struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
    at = data.find(b"\x28\x00\x02\x00US")
    return data[:at] + (tag + item) * depth + data[at:]


def _dicom_bomb(data: bytes, rng: random.Random) -> bytes:
    """Let the deflated data set unpack to gigabytes of zeros."""
    del data
    head = _save(_image(_header(), np.zeros((2, 2), np.uint16)), DeflatedExplicitVRLittleEndian)
    meta = head[:132] + head[132 : 132 + 12 + struct.unpack("<I", head[140:144])[0]]
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = bytes(1 << 24)
    body = b"".join(packer.compress(block) for _ in range(rng.choice((1, 4, 160)))) + packer.flush()
    return meta + body


def _patch(data: bytes, at: int, form: str, value) -> bytes:
    packed = struct.pack(form, value)
    return data[:at] + packed + data[at + len(packed) :]


def _nifti_fields(data: bytes, rng: random.Random) -> bytes:
    """Put numbers that no image has into the fields of the header."""
    second = data[:4] == b"\x1c\x02\0\0"
    for _ in range(rng.choice((1, 1, 2, 4))):
        small = rng.choice((-1, 0, 1, 2, 7, 255, 2304, 30000, 32767, -32768))
        large, number = rng.choice((-1, 0, 1, 7, 2**31, 2**62, -(2**62))), rng.choice(NUMBERS)
        if second:
            field = rng.choice(
                [("<q", 16 + 8 * rng.randrange(8), large), ("<h", rng.choice((12, 14)), small)]
                + [
                    ("<d", rng.randrange(104, 168, 8), number),
                    ("<q", 168, large),
                    ("<d", rng.choice((176, 184)), number),
                ]
                + [("<i", rng.choice((344, 348)), small), ("<d", rng.randrange(352, 496, 8), number)] * 2
            )
        else:
            field = rng.choice(
                [("<h", 40 + 2 * rng.randrange(8), small), ("<h", rng.choice((70, 72)), small)]
                + [("<f", rng.randrange(76, 108, 4), number), ("<f", rng.choice((108, 112, 116)), number)]
                + [("<h", rng.choice((252, 254)), small), ("<f", rng.randrange(256, 328, 4), number)] * 2
                + [("<i", 0, small), ("<i", 352, rng.choice((0, 7, -1, 2**30)))]
            )
        data = _patch(data, field[1], field[0], field[2])
    return data


def _nifti_bomb(data: bytes, rng: random.Random) -> bytes:
    """Follow the header by gzip members of zeros, more than any disk would hold."""
    if rng.random() < 0.5 and data[:4] == b"\x5c\1\0\0":
        for axis, size in enumerate((3, rng.choice((64, 3000, 30000)), 3000, 3000)):
            data = _patch(data, 40 + 2 * axis, "<h", size)
    member = gzip.compress(bytes(1 << 24), 9, mtime=0)
    return gzip.compress(data, 1, mtime=0) + member * rng.choice((1, 20, 600))


_LONG = b"A" * 100_000
_NRRD_LINES = tuple(
    line.strip().replace(b"|", b"\n").replace(b"@", _LONG)
    for line in b"""
type: double|sizes: 999999 999999 999999
sizes: 0 0 0
sizes: -1 5 6
sizes: 4294967296 4294967296 4
sizes: 6 5
dimension: 0
dimension: 17
dimension: 99999
space: left-up
space origin: (nan,1,2)
space origin: (1e300,1,2)
space origin: (1,2)
space directions: (0,0,0) (0,0,0) (0,0,0)
space directions: (1,0,0) (1,0,0) (1,0,0)
space directions: (inf,0,0) (0,1,0) (0,0,1)
space directions: (1e-30,0,0) (0,1,0) (0,0,1)
space directions: (1,0,0) (0.7,0.7,0) (0,0,1)
space directions: none none none
spacings: nan 1 1
spacings: 0 1 1
spacings: -1 1 1
encoding: bzip2
encoding: hex
encoding: txt
encoding: gzip
encoding: nonsense
line skip: 999999999
line skip: -1
byte skip: -1
byte skip: 99999999999
byte skip: -999
endian: sideways
data file: /etc/passwd
data file: /dev/zero
data file: -
data file: LIST
data file: ../../x%99999d.raw 1 999999999 1
data file: %s%s%s%n 1 9 1
kinds: vector domain domain
kinds: complex domain domain
type: block
block size: 999999999
min: inf
axis mins: nan nan nan
centerings: ???
measurement frame: (nan)
content: @
key:=@
old min: nan
thicknesses: -1 -1 -1
    """.strip().split(b"\n")
)


def _nrrd_lines(data: bytes, rng: random.Random) -> bytes:
    """Replace fields of the header by others, or say them twice."""
    head, gap, body = data.partition(b"\n\n")
    lines = head.split(b"\n")
    for _ in range(rng.choice((1, 1, 2, 3))):
        line = rng.choice(_NRRD_LINES)
        key = line.partition(b":")[0]
        same = [i for i, old in enumerate(lines) if old.startswith(key)]
        if same and rng.random() < 0.8:
            lines[same[0]] = line
        else:
            lines.insert(rng.randrange(1, len(lines) + 1), line)
    if rng.random() < 0.3:
        k = rng.randrange(1, len(lines))
        number = rng.choice(TEXTS)
        words = lines[k].split(b" ")
        words[-1] = number
        lines[k] = b" ".join(words)
    return b"\n".join(lines) + gap + body


_META_LINES = tuple(
    line.strip().replace(b"@", _LONG)
    for line in b"""
NDims = 0
NDims = 99999
DimSize = 999999 999999 999999
DimSize = 0 0 0
DimSize = -1 5 6
DimSize = 4294967296 4294967296 4
ElementSpacing = nan 1 1
ElementSpacing = 0 1 1
ElementSpacing = -1 1 1
TransformMatrix = 0 0 0 0 0 0 0 0 0
TransformMatrix = nan 0 0 0 1 0 0 0 1
TransformMatrix = 1 0 0 1 0 0 1 0 0
Offset = inf 1 2
Offset = 1e300 1 2
ElementType = MET_DOUBLE
ElementType = MET_NONSENSE
ElementNumberOfChannels = 999999999
ElementNumberOfChannels = -1
HeaderSize = -1
HeaderSize = 999999999999
HeaderSize = -999
CompressedData = True
CompressedDataSize = 999999999999
BinaryData = False
BinaryDataByteOrderMSB = True
ElementDataFile = /etc/passwd
ElementDataFile = /dev/zero
ElementDataFile = LIST
ElementDataFile = x%99999d.raw 1 999999999 1
ElementDataFile = %s%s%s%n 1 9 1
Comment = @
@ = 1
AnatomicalOrientation = ???
    """.strip().split(b"\n")
)


def _meta_lines(data: bytes, rng: random.Random) -> bytes:
    """Replace fields of a MetaImage header, or say them twice."""
    head, _, body = data.partition(b"ElementDataFile")
    lines = [*head.split(b"\n")[:-1], b"ElementDataFile = LOCAL"]
    for _ in range(rng.choice((1, 1, 2, 3))):
        line = rng.choice(_META_LINES)
        key = line.partition(b" ")[0]
        same = [i for i, old in enumerate(lines) if old.startswith(key)]
        if same and rng.random() < 0.8:
            lines[same[0]] = line
        else:
            lines.insert(rng.randrange(1, len(lines)), line)
    return b"\n".join(lines) + b"\n" + body.partition(b"\n")[2]


SPECIAL: dict[str, tuple[Callable, ...]] = {
    "dicom": (*[_dicom_values] * 8, *[_dicom_lengths] * 3, *[_dicom_vrs] * 2, _dicom_deep),
    "nifti": (_nifti_fields,),
    "nrrd": (_nrrd_lines,),
    "metaimage": (_meta_lines,),
}


def make_case(kind: str, number: int) -> tuple[str, bytes, str]:
    """Return a spoilt file: the end of its name, its bytes and what was done to it.

    Parameters
    ----------
    kind : {"dicom", "nifti", "nrrd", "metaimage"}
        The format.
    number : int
        The same number gives the same file.
    """
    rng = random.Random(f"{kind} {number}")
    data = seeds(kind)[number % len(seeds(kind))]
    bombs = {"dicom": _dicom_bomb, "nifti": _nifti_bomb}
    if number % 200 == 199 and kind in bombs:
        return {"dicom": ".dcm", "nifti": ".nii.gz"}[kind], bombs[kind](data, rng), bombs[kind].__name__
    chosen = rng.choice(SPECIAL[kind] if rng.random() < 0.5 else GENERIC)
    data = chosen(data, rng)
    if rng.random() < 0.15 and data:
        data = rng.choice(GENERIC)(data, rng)
    suffix = _SUFFIXES[kind]
    if kind == "nifti" and rng.random() < 0.3:
        suffix, data = ".nii.gz", gzip.compress(data, 1, mtime=0)
        if rng.random() < 0.2:
            data = rng.choice(GENERIC)(data, rng)
    return suffix, data, chosen.__name__.lstrip("_")
