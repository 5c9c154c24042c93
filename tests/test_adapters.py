"""A project's adapters: kept, live, rolled back, merged, passed on and refused."""

from __future__ import annotations

import json

import pytest
import torch

from napari_mediround.errors import AdapterError
from napari_mediround.model.adapter import CARD, WEIGHTS, AdapterShape, read_adapter
from napari_mediround.training.learning.adapter_store import AdapterStore, compare_cards


def make_state(seed: int, rank: int = 2) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        "heads.x.lora_A.weight": torch.randn(rank, 6, generator=generator),
        "heads.x.lora_B.weight": torch.randn(5, rank, generator=generator),
        "judge": torch.tensor([1.0 + seed, 0.5 * seed]),
    }


def add(store: AdapterStore, seed: int, wins: bool | None = True, rank: int = 2, base: str = "b") -> str:
    gate = (
        {}
        if wins is None
        else {"gate": {"wins": wins, "words": "Dice -0.100.", "new": {"touched": {"dice": seed}}}}
    )
    return store.add(make_state(seed, rank), AdapterShape(rank, rank), {"base": base, **gate})


@pytest.fixture
def store(tmp_path) -> AdapterStore:
    return AdapterStore(tmp_path)


def test_a_new_project_has_none_and_none_is_live(store):
    assert (store.names(), store.live, store.live_path) == ([], "", None)
    with pytest.raises(AdapterError, match="none yet"):
        store.path("a001")
    with pytest.raises(AdapterError, match="nothing to go back to"):
        store.rollback()


def test_they_are_numbered_and_all_kept(store):
    assert [add(store, k) for k in range(3)] == ["a001", "a002", "a003"]
    assert store.names() == ["a001", "a002", "a003"]


def test_one_that_is_being_written_is_not_there_yet(store):
    name = add(store, 1)
    card = store.path(name) / CARD
    card.rename(card.with_suffix(".part"))
    assert store.names() == []
    card.with_suffix(".part").rename(card)
    assert store.names() == [name]


def test_going_back_takes_back_one_switch_after_the_other(store):
    for k in range(3):
        store.use(add(store, k))
    assert [store.rollback() for _ in range(4)] == ["a002", "a001", "", ""]
    assert store.live == ""


def test_after_going_back_and_on_it_goes_back_to_where_it_was(store):
    for k in range(2):
        store.use(add(store, k))
    store.rollback()
    store.use(add(store, 2))
    assert store.live == "a003"
    assert store.rollback() == "a001"


def test_what_did_not_win_needs_a_reason_which_is_kept(store):
    lost, unmeasured = add(store, 0, wins=False), add(store, 1, wins=None)
    for name in (lost, unmeasured):
        with pytest.raises(AdapterError, match="give a reason"):
            store.use(name)
    store.use(lost, "better at the border, Dr B")
    assert (store.live, store.history()[-1].why) == (lost, "better at the border, Dr B")


def test_a_damaged_one_never_goes_live(store):
    name = add(store, 0)
    (store.path(name) / WEIGHTS).write_bytes(b"x")
    with pytest.raises(AdapterError, match="damaged"):
        store.use(name)
    assert store.live == ""


def test_a_name_is_no_path(store, tmp_path):
    add(AdapterStore(tmp_path / "other"), 0)
    for name in ("../other/adapters/a001", "..", "", "/etc"):
        with pytest.raises(AdapterError, match="no adapter"):
            store.path(name)


def test_merged_ones_change_the_weights_by_the_weighted_sum(store):
    names = [add(store, 1), add(store, 2, rank=3)]
    merged, shape, card = read_adapter(store.path(store.merge(names, [0.75, 0.25])))
    states = [make_state(1), make_state(2, 3)]
    key = "heads.x.lora_{}.weight"
    sums = [
        share * s[key.format("B")] @ s[key.format("A")] for share, s in zip((0.75, 0.25), states, strict=True)
    ]
    assert torch.allclose(merged[key.format("B")] @ merged[key.format("A")], sums[0] + sums[1], atol=1e-5)
    assert shape == AdapterShape(5, 5)
    assert card["merged"] == {"a001": 0.75, "a002": 0.25}
    with pytest.raises(AdapterError, match="was not measured"):
        store.use("a003")


def test_a_weakened_one_changes_the_weights_by_its_share_and_must_be_measured(store):
    store.note(add(store, 1), gate={"wins": True}, structures=["liver"])
    weak, shape, card = read_adapter(store.path(store.weaken("a001", 0.5)))
    whole, key = make_state(1), "heads.x.lora_{}.weight"
    products = [s[key.format("B")] @ s[key.format("A")] for s in (weak, whole)]
    assert torch.allclose(products[0], products[1] / 2, atol=1e-6)
    assert shape == read_adapter(store.path("a001"))[1]
    assert (card["share"], card["structures"]) == ({"a001": 0.5}, ["liver"])
    with pytest.raises(AdapterError, match="was not measured"):
        store.use("a002")


def test_ones_of_other_weights_are_not_merged(store):
    names = [add(store, 1), add(store, 2, base="other")]
    with pytest.raises(AdapterError, match="different weights"):
        store.merge(names)
    with pytest.raises(AdapterError, match="at least two"):
        store.merge(names[:1])


def test_exported_and_taken_in_elsewhere_it_is_the_same_but_must_be_measured_anew(store, tmp_path):
    name, elsewhere = add(store, 4), AdapterStore(tmp_path / "elsewhere")
    folder = store.export(name, tmp_path / "out")
    assert sorted(p.name for p in folder.iterdir()) == ["adapter.safetensors", "card.json"]
    taken = elsewhere.take_in(folder)
    assert all(torch.equal(v, read_adapter(elsewhere.path(taken))[0][k]) for k, v in make_state(4).items())
    assert elsewhere.card(taken)["imported"]
    with pytest.raises(AdapterError, match="was not measured"):
        elsewhere.use(taken)
    with pytest.raises(AdapterError, match="exists already"):
        store.export(name, folder)


def test_one_that_was_tampered_with_is_not_taken_in(store, tmp_path):
    folder = store.export(add(store, 4), tmp_path / "out")
    content = bytearray((folder / WEIGHTS).read_bytes())
    content[-1] ^= 1
    (folder / WEIGHTS).write_bytes(content)
    with pytest.raises(AdapterError, match="damaged"):
        AdapterStore(tmp_path / "elsewhere").take_in(folder)


def test_a_note_in_the_card_leaves_the_weights(store):
    name = add(store, 0, wins=None)
    assert store.note(name, gate={"wins": True})["gate"]["wins"]
    store.use(name)
    assert store.live == name


def test_cards_are_compared_number_by_number(store):
    first, second = (store.card(add(store, k)) for k in (1, 2))
    assert compare_cards(first, second) == [("touched dice", 1, 2)]
    assert compare_cards(first, {}) == [("touched dice", 1, None)]


def test_a_damaged_history_is_named(store):
    store.use(add(store, 0))
    (store.folder / "live.json").write_text(json.dumps([{"adapter": 1}]))
    with pytest.raises(AdapterError, match="damaged"):
        store.history()
