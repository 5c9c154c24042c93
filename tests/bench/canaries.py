"""Canaries in DICOM images: how many are left in their de-identified copies; 0 is right.

Words, numbers and dates are planted over all kinds of values, groups, depths, private blocks, overlays, file
meta, preamble, padding, spare bits and comments of compressed frames (`tests/canaries.py`). Prints counts and
exits non-zero when one passes, or pixels differ. ``python tests/bench/canaries.py [canaries]``
"""

from __future__ import annotations

import sys
import tempfile
import time
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from canaries import check_copies


def main(wanted: int) -> int:
    """Plant that many and look; return how many files kept one or changed their pixels."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        planted, files, refused, faults = check_copies(Path(folder), wanted)
    for fault in faults[:20]:
        print("PASSED", fault)
    seconds = time.monotonic() - began
    print(f"planted={planted} files={files} refused={refused} passed={len(faults)} seconds={seconds:.0f}")
    return len(faults)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    sys.exit(bool(main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)))
