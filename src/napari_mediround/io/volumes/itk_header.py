"""Headers of NRRD and MetaImage files, looked at as text before SimpleITK follows them anywhere.

Both formats may name another file, or many, that holds the voxels: a path to anything this user can read,
a device, standard input. Only a file beside the header is accepted, and one only.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from napari_mediround.errors import UnreadableFileError

MAX_HEADER = 2**20
"""Bytes within which a header ends."""

_NRRD_FILE = re.compile(rb"data ?file:(?!=)(.*)", re.I)
_NRRD_ENCODING = re.compile(rb"encoding:(?!=)(.*)", re.I)
_NRRD_VECTORS = re.compile(rb"(?:space directions|space origin|measurement frame):(?!=)(.*)", re.I)
_NRRD_FIELD = re.compile(rb"(space directions|space):(?!=)(.*)", re.I)
# Anatomical spaces that ITK turns into its own; those of RAS and LAS with time it takes for LPS.
_NRRD_SPACE = re.compile(
    rb"(right|left)-anterior-superior|RAS|LAS|left-posterior-superior(-time)?|LPST?", re.I
)
_MOST_NUMBERS = 8  # of a vector: more are written past the end of an array (NRRD_SPACE_DIM_MAX of teem)
_META_FIELD = re.compile(rb"\s*([A-Za-z]\w{0,63})\s*=(.{0,4000})")
_META_TYPES = frozenset(
    b"MET_" + name + kind
    for name in (
        b"CHAR",
        b"UCHAR",
        b"SHORT",
        b"USHORT",
        b"INT",
        b"UINT",
        b"LONG",
        b"ULONG",
        b"FLOAT",
        b"DOUBLE",
    )
    for kind in (b"", b"_ARRAY")
) | {b"MET_LONG_LONG", b"MET_ULONG_LONG"}
_META_DIRECTIONS = {b"TransformMatrix", b"Rotation", b"Orientation"}
_META_NUMBERS = (
    ({b"ElementSpacing", b"ElementSize", b"Offset", b"Position", b"Origin", b"CenterOfRotation"}, 1),
    (_META_DIRECTIONS, 2),
)
_MOST_CHANNELS = 1024
_DAMAGED = "Copy or export the file again."
_ONE_FILE = "Save image and header as one file (.nrrd, .mha) and open that."


@dataclass(frozen=True)
class Voxels:
    """Where the voxels of a header are.

    Parameters
    ----------
    stored : int
        Bytes at most: of the rest of the file, or of the file that the header names.
    packed : bool
        Whether they are anything but plain values.
    oriented : bool
        Whether the header says which way the axes run in the patient; readers make up what it does not say.
    """

    stored: int
    packed: bool
    oriented: bool


def find_voxels(path: Path) -> Voxels:
    """Return where the voxels of a NRRD or MetaImage file are.

    Raises
    ------
    UnreadableFileError
        When the header does not begin or end as one, or names voxels anywhere but in itself or in one
        file beside it.
    ValueError
        When a number of a MetaImage header is none.
    """
    with open(path, "rb") as file:
        start = file.read(MAX_HEADER)
    if start[:4] == b"NRRD":
        named, packed, oriented, length = _read_nrrd(path, start)
    elif path.suffix.lower() in (".mha", ".mhd"):
        named, packed, oriented, length = _read_meta(path, start)
    else:
        raise UnreadableFileError(path, "it is no NRRD file", _DAMAGED)
    if named is None:
        return Voxels(path.stat().st_size - length, packed, oriented)
    return Voxels(_beside(path, named).stat().st_size, packed, oriented)


def _read_nrrd(path: Path, start: bytes) -> tuple[bytes | None, bool, bool, int]:
    """Return the file named or None, whether it is packed and oriented, and the header's length."""
    end = re.search(rb"\r?\n\r?\n", start)
    if end is None and len(start) == MAX_HEADER:
        raise UnreadableFileError(path, "its header does not end", _DAMAGED)
    head = start[: end.end()] if end else start
    lines = [line.strip() for line in head.splitlines()]
    names = [found.group(1).strip() for line in lines if (found := _NRRD_FILE.match(line))]
    kinds = [found.group(1).strip().lower() for line in lines if (found := _NRRD_ENCODING.match(line))]
    vectors = [found.group(1).split(b"(") for line in lines if (found := _NRRD_VECTORS.match(line))]
    if any(vector.count(b",") >= _MOST_NUMBERS for line in vectors for vector in line):
        raise UnreadableFileError(path, "its header has a vector of too many numbers", _DAMAGED)
    if {b"bz2", b"bzip2"} & set(kinds):
        cause = "its voxels are packed by bzip2, which is not read here"
        raise UnreadableFileError(path, cause, "Save it packed by gzip, or not packed.")
    if len(names) > 1:
        raise UnreadableFileError(path, "it names several files of voxels", _ONE_FILE)
    said = dict(found.groups() for line in lines if (found := _NRRD_FIELD.match(line)))
    said = {name.lower(): value.strip() for name, value in said.items()}
    oriented = b"space directions" in said and bool(_NRRD_SPACE.fullmatch(said.get(b"space", b"")))
    return names[0] if names else None, kinds != [b"raw"], oriented, len(head)


def _read_meta(path: Path, start: bytes) -> tuple[bytes | None, bool, bool, int]:
    """Return the same of a MetaImage file, whose last field is ElementDataFile."""
    fields, at = {}, 0
    for line in start.splitlines(keepends=True):
        at += len(line)
        field = _META_FIELD.fullmatch(line.rstrip())
        if field is None or field.group(1) in fields:
            break
        fields[field.group(1)] = field.group(2).strip()
        if field.group(1) == b"ElementDataFile":
            _check_meta(path, fields)
            packed, named = fields.get(b"CompressedData", b"F")[:1] in b"TtYy1", fields[b"ElementDataFile"]
            oriented = not _META_DIRECTIONS.isdisjoint(fields)
            return None if named.upper() == b"LOCAL" else named, packed, oriented, at
    raise UnreadableFileError(path, "its header is damaged, or is none of a MetaImage file", _DAMAGED)


def _check_meta(path: Path, fields: dict[bytes, bytes]) -> None:
    """Refuse numbers, too many or too few, that MetaIO would write past the end of its arrays."""
    axes = int(fields.get(b"NDims", b"0"))
    channels = int(fields.get(b"ElementNumberOfChannels", b"1"))
    sizes = [int(word) for word in fields.get(b"DimSize", b"").split()]
    fits = axes in (2, 3, 4) and len(sizes) == axes and min(sizes) > 0 and 1 <= channels <= _MOST_CHANNELS
    fits &= fields.get(b"ElementType") in _META_TYPES and int(fields.get(b"HeaderSize", b"0")) >= -1
    for names, count in _META_NUMBERS:
        for name in names & set(fields):
            fits &= len([float(word) for word in fields[name].split()]) == axes**count
    if not fits:
        raise UnreadableFileError(path, "its header does not describe an image", _DAMAGED)


def _beside(path: Path, named: bytes) -> Path:
    """Return the file beside a header that it names."""
    name = named.decode("utf-8", "replace").removeprefix("./")
    other = path.parent / name if name and Path(name).name == name and "\\" not in name else None
    if other is None or not other.is_file():
        cause = "its header names voxels in several files, in another folder, or in a file that is not there"
        raise UnreadableFileError(path, cause, _ONE_FILE)
    if other.resolve().parent != path.parent.resolve():
        raise UnreadableFileError(path, "its header names a link to another folder", _ONE_FILE)
    return other
