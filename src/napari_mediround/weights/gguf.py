"""Turn a GGUF file into a folder that transformers reads, once.

`fetch` runs this module as a process of its own (``python -m napari_mediround.weights.gguf GGUF
FOLDER``): the gigabyte it needs is given back, and its progress bars stay out of the caller's output.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path


def gguf_to_safetensors(gguf: Path, folder: Path) -> None:
    """Write ``model.safetensors``, ``config.json`` and the tokenizer's files of a GGUF file.

    Parameters
    ----------
    gguf : pathlib.Path
        The file, of an architecture that transformers can dequantise (Llama and relatives).
    folder : pathlib.Path
        Takes the files; each is renamed into place when it is whole.

    Notes
    -----
    Values are kept as float32: rounding them to float16 moves SmolLM2's logits by up to 0.04, to
    bfloat16 by 0.28 (of a range of 38), and the base model is meant to be the same everywhere.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    # What is written is an ordinary float32 model; the mark would make transformers look for the GGUF file.
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.is_quantized = False
    model.hf_quantizer = None
    with tempfile.TemporaryDirectory(dir=folder, prefix=".convert-") as scratch:
        model.save_pretrained(scratch)
        tokenizer.save_pretrained(scratch)
        for path in sorted(Path(scratch).iterdir()):
            path.chmod(0o644)
            os.replace(path, folder / path.name)


if __name__ == "__main__":
    gguf_to_safetensors(Path(sys.argv[1]), Path(sys.argv[2]))
