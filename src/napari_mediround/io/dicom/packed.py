"""What packed DICOM pixels would unpack to, and with what, decided before anything unpacks them.

Decodes nothing. GDCM ends the whole process when pixels and header do not fit together, so it comes last, and
nothing reaches it that was not looked at here.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames
from pydicom.pixels import get_decoder
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian

from napari_mediround.errors import UnreadableFileError

MAX_DEFLATED = 64 * 2**20
"""Largest deflated data set, bytes unpacked: the library holds it in memory several times."""

PLUGINS = ("pydicom", "pylibjpeg", "pyjpegls", "pillow", "gdcm")
"""Names of pydicom's decoders, the one that fails most gently first."""

_PREAMBLE, _META_GROUP = 132, 2
_LONG_LENGTHS = (b"OB", b"OW", b"SQ", b"UN", b"UT")
_PART = 2**18
_START_OF_IMAGE, _START_OF_CODESTREAM = b"\xff\xd8", b"\xff\x4f\xff\x51"
_FRAME_MARKERS = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}
_MAX_COMPONENTS = 4
_DAMAGED = "Copy or export the file again."


@dataclass(frozen=True)
class Coded:
    """What a JPEG, JPEG-LS or JPEG 2000 frame says of itself.

    Parameters
    ----------
    rows, columns, components, bits : int
        Bits are those of one value.
    """

    rows: int
    columns: int
    components: int
    bits: int


def check_deflated(path: Path) -> None:
    """Refuse a deflated data set that unpacks to more than `MAX_DEFLATED`.

    Raises
    ------
    UnreadableFileError
        When it does. Damage is not looked for: the reader finds it.
    """
    with open(path, "rb") as file:
        head = file.read(2**16)
        if DeflatedExplicitVRLittleEndian.encode() not in head:
            return
        file.seek(_end_of_meta(head))
        unpacker, total = zlib.decompressobj(-zlib.MAX_WBITS), 0
        try:
            while total <= MAX_DEFLATED and (part := unpacker.unconsumed_tail or file.read(_PART)):
                total += len(unpacker.decompress(part, _PART * 4))
        except zlib.error:
            return
    if total > MAX_DEFLATED:
        cause = f"it unpacks to more than {MAX_DEFLATED / 2**20:.0f} MiB"
        raise UnreadableFileError(path, cause, "Save it in a plain transfer syntax first (gdcmconv --raw).")


def _end_of_meta(head: bytes) -> int:
    """Return where the data set begins: after the last element of group 2 (PS3.10 7.1)."""
    at = _PREAMBLE if head[_PREAMBLE - 4 : _PREAMBLE] == b"DICM" else 0
    while head[at : at + 2] == struct.pack("<H", _META_GROUP) and at + 12 <= len(head):
        if head[at + 4 : at + 6] in _LONG_LENGTHS:
            at += 12 + struct.unpack_from("<I", head, at + 8)[0]
        else:
            at += 8 + struct.unpack_from("<H", head, at + 6)[0]
    return at


def choose_decoder(path: Path, syntax: UID, dataset: Dataset) -> str:
    """Return the name of the decoder for the pixels of a data set, "" where none is needed.

    Raises
    ------
    UnreadableFileError
        When nothing installed here decodes the transfer syntax, or compressed frames do not fit the header.
    """
    remedy = "Install it (pip install pylibjpeg[all]), or decompress the file first (gdcmconv --raw)."
    try:
        there = get_decoder(syntax).available_plugins if syntax.is_encapsulated else ("",)
    except NotImplementedError:
        there, remedy = (), "Decompress or export the file first."
    if "pillow" in there and "gdcm" in there and int(dataset.BitsAllocated) > 8:
        there = tuple(name for name in there if name != "pillow")  # reads eight bits
    if not there:
        raise UnreadableFileError(path, f"there is no decoder here for its pixels ({syntax.name})", remedy)
    if syntax.is_encapsulated:
        _check_frames(path, dataset)
    return min(there, key=(*PLUGINS, "").index)


def _check_frames(path: Path, dataset: Dataset) -> None:
    """Refuse compressed frames whose own size is not that of the header, before a decoder allocates it."""
    allocated, stored = int(dataset.BitsAllocated), int(dataset.BitsStored)
    fits = allocated in (8, 16, 32) and 1 <= stored <= allocated and dataset.get("HighBit") == stored - 1
    fits &= dataset.PixelRepresentation in (0, 1) and dataset.get("SamplesPerPixel") in (1, 3)
    size = (int(dataset.Rows), int(dataset.Columns))
    count = int(dataset.get("NumberOfFrames") or 1)
    for frame in generate_frames(dataset.PixelData, number_of_frames=count) if fits else ():
        coded = read_coded(frame)
        if coded is not None:
            fits &= (coded.rows, coded.columns) == size
            fits &= coded.bits <= allocated and coded.components <= _MAX_COMPONENTS
    if not fits:
        raise UnreadableFileError(path, "its compressed pixels are not what its header says", _DAMAGED)


def read_coded(frame: bytes) -> Coded | None:
    """Return what a compressed frame says of itself, None for RLE, which says nothing, and for damage."""
    at = frame.find(_START_OF_CODESTREAM, 0, 4096)
    if at >= 0 and len(frame) >= at + 43:
        right, bottom, left, top = struct.unpack_from(">4I", frame, at + 8)
        components, depth = struct.unpack_from(">HB", frame, at + 40)
        return Coded(bottom - top, right - left, components, (depth & 0x7F) + 1)
    at = 2 if frame[:2] == _START_OF_IMAGE else len(frame)
    while at + 10 <= len(frame) and frame[at] == 0xFF:
        marker = frame[at + 1]
        if marker in _FRAME_MARKERS:
            bits, rows, columns, components = struct.unpack_from(">BHHB", frame, at + 4)
            return Coded(rows, columns, components, bits)
        at += 1 if marker == 0xFF else 2 + struct.unpack_from(">H", frame, at + 2)[0]
    return None
