"""How much faster the image encoder is folded, in strips and channels-last than as published.

Prints ``ratio=`` of the best times and exits non-zero when it is under 1.2 or the embeddings differ.
``python tests/bench/encoder.py``
"""

from __future__ import annotations

import sys
import time

import torch

from napari_mediround.model.tinyvit import MBConv, TinyViT, fold_batch_norms

LINE = 1.2


def best_time(work, repeats: int = 5) -> float:
    """Return the shortest of some runs, seconds."""
    work()
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return min(times)


def main() -> int:
    """Time both on the same weights."""
    torch.manual_seed(0)
    plain = TinyViT().eval()
    for module in plain.modules():
        if isinstance(module, MBConv):
            module.STRIP = 1 << 30  # as published: the whole image at once
    fast = TinyViT()
    fast.load_state_dict(plain.state_dict())
    fast = fold_batch_norms(fast).to(memory_format=torch.channels_last)
    image = torch.rand(1, 3, 256, 256)
    wide = image.contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        expected = plain(image)
        error = ((fast(wide) - expected).abs().max() / expected.abs().max()).item()
        slow_s, fast_s = best_time(lambda: plain(image)), best_time(lambda: fast(wide))
    print(f"plain {slow_s:.2f} s, ours {fast_s:.2f} s, relative error {error:.1e}")
    print(f"ratio={slow_s / fast_s:.2f}")
    return 0 if slow_s / fast_s >= LINE and error < 1e-4 else 1


if __name__ == "__main__":
    sys.exit(main())
