"""Decoding in a process of its own, for decoders that may end the process they run in.

GDCM throws C++ exceptions at some damaged JPEG frames that nobody in Python can catch. Run as a script this
file is that process: it needs pydicom and NumPy and nothing of the package.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


class Apart:
    """A decoding process, started with the first file and used for all of them; a context manager."""

    def __init__(self) -> None:
        self._process: subprocess.Popen | None = None

    def __enter__(self) -> Apart:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process; the next file starts another."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def frames(self, file: Path, syntax: str, plugin: str, numbers: list[int]) -> Iterator[NDArray]:
        """Yield frames as ``pydicom.pixels.iter_pixels`` does.

        Parameters
        ----------
        file : Path
            A DICOM file.
        syntax : str
            UID of its transfer syntax.
        plugin : str
            Name of the decoder.
        numbers : list of int
            0-based numbers of the frames.

        Raises
        ------
        ValueError
            When the decoder refuses a frame: its process has ended.
        """
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-P", __file__],  # -P: the modules beside this file are no libraries
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        question = {"file": str(file.absolute()), "syntax": syntax, "plugin": plugin, "numbers": numbers}
        try:
            self._process.stdin.write(json.dumps(question).encode() + b"\n")
            self._process.stdin.flush()
            for _ in numbers:
                head = json.loads(self._process.stdout.readline())
                dtype, shape = np.dtype(head["dtype"]), head["shape"]
                data = self._process.stdout.read(dtype.itemsize * math.prod(shape))
                yield np.frombuffer(data, dtype).reshape(shape)
        except (OSError, ValueError) as error:
            self.close()
            raise ValueError(f"{plugin} could not decode a frame and has ended") from error


def main() -> None:
    """Answer questions from standard input: for each frame its dtype and shape in a line, then its bytes.

    Ends with the first frame that cannot be decoded.
    """
    from pydicom import dcmread
    from pydicom.dataset import FileMetaDataset
    from pydicom.pixels import iter_pixels

    for line in sys.stdin:
        question = json.loads(line)
        dataset = dcmread(question["file"], force=True)
        if not hasattr(dataset, "file_meta"):
            dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = question["syntax"]
        for frame in iter_pixels(dataset, indices=question["numbers"], decoding_plugin=question["plugin"]):
            head = {"dtype": frame.dtype.str, "shape": frame.shape}
            sys.stdout.buffer.write(json.dumps(head).encode() + b"\n" + frame.tobytes())
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
