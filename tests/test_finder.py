"""The finder: names to logits, what folding leaves, how it is kept, and that adapters outlive it."""

from __future__ import annotations

import json

import pytest
import torch
from scripted import make_plane

from napari_mediround.errors import MissingWeightsError
from napari_mediround.model.adapter import hash_base
from napari_mediround.model.build import build_mediround
from napari_mediround.model.checkpoint import CARD, FINDER, load_trained, save_trained
from napari_mediround.model.finder import Finder, fold_norms
from napari_mediround.model.mediround import CorrectionSettings
from napari_mediround.model.prototypes import Prototypes
from napari_mediround.model.sam import CERTAIN

NAMES = ("liver", "left kidney", "right kidney")


def tiny_finder(norms: bool = False) -> Finder:
    """Return one of random weights."""
    torch.manual_seed(0)
    return Finder(NAMES, (8, 16, 24), layers=1, heads=4, size=64, norms=norms)


@torch.no_grad()
def test_each_name_gets_its_own_logits_on_half_of_the_grid() -> None:
    finder = tiny_finder().eval()
    found = finder.find(finder.look(torch.rand(1, 3, 100, 100)), ("right kidney", "liver"))
    assert found.shape == (2, 32, 32)
    assert not torch.equal(found[0], found[1])
    assert "liver" in finder
    assert "spleen" not in finder


@torch.no_grad()
def test_gain_and_offset_of_the_greys_do_not_matter() -> None:
    finder, plane = tiny_finder().eval(), torch.rand(1, 3, 64, 64)
    assert torch.allclose(finder(plane), finder(0.3 * plane + 0.4), atol=1e-3)


@torch.no_grad()
def test_without_its_norms_it_computes_the_same() -> None:
    finder = tiny_finder(norms=True)
    for _ in range(3):
        finder(torch.rand(4, 3, 64, 64))
    plain, plane = fold_norms(finder), torch.rand(1, 3, 64, 64)
    assert not list(plain.buffers())
    assert torch.allclose(plain(plane), finder(plane), atol=1e-5)


def test_it_is_kept_beside_the_weights_and_weights_without_one_open(tmp_path) -> None:
    model = build_mediround("tiny")
    save_trained(model, tmp_path / "without", {})
    model.finder = tiny_finder().eval()
    save_trained(model, tmp_path / "with", {})
    again = build_mediround("tiny", trained=tmp_path / "with")
    assert again.finder.names == NAMES
    assert torch.allclose(again.finder.query.weight, model.finder.query.weight, atol=1e-3)
    load_trained(again, tmp_path / "without")
    assert again.finder is None


@pytest.mark.parametrize("damage", ["missing", "cut", "shape", "names"])
def test_a_damaged_one_is_refused(tmp_path, damage) -> None:
    model = build_mediround("tiny")
    model.finder = tiny_finder()
    save_trained(model, tmp_path, {})
    card = json.loads((tmp_path / CARD).read_text())
    if damage == "missing":
        (tmp_path / FINDER).unlink()
    if damage == "cut":
        (tmp_path / FINDER).write_bytes((tmp_path / FINDER).read_bytes()[:-3])
    card["finder"]["shape"]["widths"] = [8, 8, 24] if damage == "shape" else [8, 16, 24]
    card["finder"]["names"] += ["spleen"] * (damage == "names")
    (tmp_path / CARD).write_text(json.dumps(card))
    with pytest.raises(MissingWeightsError, match="damaged or missing"):
        load_trained(build_mediround("tiny"), tmp_path)


def test_an_adapter_learned_without_a_finder_stands_on_the_same_base() -> None:
    model = build_mediround("tiny")
    before = hash_base(model)
    model.finder = tiny_finder()
    assert hash_base(model) == before


@torch.no_grad()
def test_of_two_masks_the_one_judged_better_stays_and_a_new_structure_is_the_finders() -> None:
    model, plane = build_mediround("tiny"), make_plane()
    vectors = torch.randn(4, model.channels)
    model.finder = tiny_finder().eval()
    model.finder.query.weight[:, -1] = 3.0  # something is there
    model.landmarks = Prototypes(("liver", "left kidney"), torch.randn(2, model.channels))
    model.correction = CorrectionSettings(enabled=False)
    features = model.encode_image(plane)
    without, unknown = (model.segment(features, vectors, names) for names in ((), ("spleen",) * 4))
    assert torch.equal(without.logits, unknown.logits)
    judged = [torch.full((4,), 0.5), torch.tensor([0.9, 0.1, 0.2])]
    model.judge_masks = lambda *_: judged.pop(0)
    found = model.segment(features, vectors, ("liver", "spleen", "left kidney", "right kidney"))
    changed = [not torch.equal(a, b) for a, b in zip(found.logits, without.logits, strict=True)]
    assert changed == [True, False, False, True]  # the right kidney has no vector that means it
    assert found.quality.tolist() == pytest.approx([0.9, 0.5, 0.5, 0.2])


@torch.no_grad()
def test_the_corrector_leaves_new_structures_alone() -> None:
    model = build_mediround("tiny")
    model.finder = tiny_finder().eval()
    model.correction = CorrectionSettings(threshold=1.0)
    model.corrector = None
    found = model.segment(model.encode_image(make_plane()), torch.randn(1, model.channels), ("liver",))
    assert not found.corrected.any()


@torch.no_grad()
def test_what_the_finder_knows_and_does_not_see_is_nothing_and_no_corrector_brings_it_back() -> None:
    model = build_mediround("tiny")
    model.finder = tiny_finder().eval()
    model.finder.query.weight[:, :-1] = 0
    model.finder.query.weight[:, -1] = torch.tensor([-3.0, 0.0, -3.0])  # liver, left kidney, right kidney
    model.landmarks = Prototypes(("right kidney",), torch.randn(1, model.channels))
    features, vectors = model.encode_image(make_plane()), torch.randn(3, model.channels)
    model.correction = CorrectionSettings(threshold=1.0, keep_better=False)
    found = model.segment(features, vectors, ("liver", "left kidney", "right kidney"))
    assert [bool((mask == -CERTAIN).all()) for mask in found.logits] == [True, False, True]
    unknown = model.segment(features, vectors[2:], ("pancreas",)).logits
    assert torch.equal(unknown, model.segment(features, vectors[2:]).logits)
