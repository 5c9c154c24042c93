"""How much faster the image encoder is folded, in strips and channels-last than as published.

Prints ``ratio=`` of the best times and exits non-zero when it is under 1.2 or the embeddings differ. Where
openvino is installed, what it takes to convert, compile and run the same encoder in float32 is printed too,
by the clock and by the processor: it is not used (docs/performance.md says why).
``python tests/bench/encoder.py``
"""

from __future__ import annotations

import importlib.util
import sys
import tempfile
import time
from pathlib import Path

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


def measure_openvino(encoder: TinyViT, image: torch.Tensor, expected: torch.Tensor) -> None:
    """Print what another runtime takes, turn by turn with ours."""
    import openvino

    def timed(name: str, work):
        began, cpu = time.perf_counter(), time.process_time()
        result = work()
        seconds = time.perf_counter() - began, time.process_time() - cpu
        sys.stdout.write(f"{name}: {seconds[0]:.2f} s, processor {seconds[1]:.2f} s\n")
        return result

    strips, MBConv.STRIP = MBConv.STRIP, 1 << 30  # one graph, not sixteen strips of each block
    wide, hints = image.contiguous(memory_format=torch.channels_last), {"INFERENCE_PRECISION_HINT": "f32"}
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "encoder.xml")
        model = timed("openvino, convert", lambda: openvino.convert_model(encoder, example_input=image))
        MBConv.STRIP = strips
        openvino.save_model(model, path, compress_to_fp16=False)
        for _ in range(2):  # the second finds what the first has kept
            core = openvino.Core()
            core.set_property({"CACHE_DIR": folder})
            compiled = timed("openvino, compile", lambda core=core: core.compile_model(path, "CPU", hints))
        run = compiled.create_infer_request()
        for _ in range(5):
            output = timed("openvino, encode", lambda: run.infer({0: image.numpy()})[0])
            timed("ours, encode", lambda: encoder(wide))
    error = (torch.from_numpy(output) - expected).abs().max() / expected.abs().max()
    sys.stdout.write(f"openvino, relative error {error:.1e}\n")


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
    if importlib.util.find_spec("openvino"):
        with torch.inference_mode():
            measure_openvino(fast, image, expected)
    print(f"ratio={slow_s / fast_s:.2f}")
    return 0 if slow_s / fast_s >= LINE and error < 1e-4 else 1


if __name__ == "__main__":
    sys.exit(main())
