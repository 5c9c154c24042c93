"""Model files from anywhere: nothing is run or written elsewhere, and the error is one of ours."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import trap
from test_weights import CONTENT, small, write_bundle  # noqa: F401 - a fixture

from napari_mediround import weights
from napari_mediround.errors import AdapterError, MediRoundError, MissingWeightsError, UnreadableFileError
from napari_mediround.model.adapter import read_adapter
from napari_mediround.model.build import read_state
from napari_mediround.model.checkpoint import load_trained
from napari_mediround.model.language import load_language_folder


class Bomb:
    """Makes a folder called "ran" where it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder / "ran")

    def __reduce__(self):
        return os.mkdir, (self.folder,)


@pytest.fixture
def nothing_runs(tmp_path: Path) -> Iterator[None]:
    """Fail when a bomb went off, or a program was started."""
    with trap.watch_programs() as seen:
        yield
    assert not (tmp_path / "ran").exists()
    assert not seen


def plain_pickle(folder: Path) -> bytes:
    return pickle.dumps(Bomb(folder), 2)


def nested_pickle(folder: Path) -> bytes:
    return pickle.dumps({"model": {"weight": pickle.dumps(Bomb(folder)), "inner": [Bomb(folder)]}}, 2)


def torch_file(folder: Path) -> bytes:
    file = io.BytesIO()
    torch.save({"model": {"weight": torch.zeros(2), "more": Bomb(folder)}}, file)
    return file.getvalue()


def hand_made_torch_file(folder: Path) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Bomb(folder), 2))
        archive.writestr("archive/version", "3")
    return file.getvalue()


def legacy_torch_file(folder: Path) -> bytes:
    file = io.BytesIO()
    torch.save({"weight": Bomb(folder)}, file, _use_new_zipfile_serialization=False)
    return file.getvalue()


PICKLES = (plain_pickle, nested_pickle, torch_file, hand_made_torch_file, legacy_torch_file)
every_pickle = pytest.mark.parametrize("make", PICKLES, ids=lambda make: make.__name__)


@every_pickle
@pytest.mark.parametrize("name", ["w.pth", "w.bin", "w.safetensors"])
@pytest.mark.usefixtures("nothing_runs")
def test_a_pickle_is_no_file_of_weights(tmp_path: Path, make, name: str) -> None:
    (tmp_path / name).write_bytes(make(tmp_path))
    with pytest.raises(MissingWeightsError, match="more than tensors"):
        read_state(tmp_path / name)


def test_the_bombs_here_would_go_off(tmp_path: Path) -> None:
    pickle.loads(plain_pickle(tmp_path))
    assert (tmp_path / "ran").is_dir()


@every_pickle
@pytest.mark.usefixtures("nothing_runs")
def test_trained_weights_and_adapters_with_the_right_hash_are_still_no_pickles(tmp_path: Path, make) -> None:
    content = make(tmp_path)
    card = {"sha256": hashlib.sha256(content).hexdigest(), "preset": "tiny", "base": ""}
    card["shape"] = {"language_rank": 8, "head_rank": 8, "language_targets": ["q_proj"]}
    (tmp_path / "card.json").write_text(json.dumps(card))
    for name in ("mediround.safetensors", "adapter.safetensors"):
        (tmp_path / name).write_bytes(content)
    with pytest.raises(MissingWeightsError, match="more than tensors"):
        load_trained(torch.nn.Module(), tmp_path)
    with pytest.raises(AdapterError, match="more than tensors"):
        read_adapter(tmp_path)


@pytest.mark.parametrize("card", ["[]", "{}", "[" * 100_000, '{"sha256": 1e999}', "null", '"x"'])
def test_a_card_may_say_anything(tmp_path: Path, card: str) -> None:
    for name in ("mediround.safetensors", "adapter.safetensors"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "card.json").write_text(card)
    with pytest.raises(MissingWeightsError):
        load_trained(torch.nn.Module(), tmp_path)
    with pytest.raises(AdapterError):
        read_adapter(tmp_path)


@pytest.mark.usefixtures("nothing_runs")
def test_code_beside_a_language_model_is_not_imported(tmp_path: Path) -> None:
    places = {"AutoConfig": "evil.Config", "AutoModelForCausalLM": "evil.Model", "AutoTokenizer": "evil.T"}
    config = {"model_type": "evil", "auto_map": places, "architectures": ["Model"]}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "tokenizer_config.json").write_text(
        json.dumps({"auto_map": {"AutoTokenizer": ["evil.T", None]}})
    )
    (tmp_path / "evil.py").write_text(f"import os\nos.mkdir({str(tmp_path / 'ran')!r})\n")
    (tmp_path / "pytorch_model.bin").write_bytes(torch_file(tmp_path))
    with pytest.raises(MissingWeightsError, match="no language model"):
        load_language_folder(tmp_path)


@pytest.mark.usefixtures("nothing_runs", "small")
def test_only_files_of_weights_are_taken_from_a_folder(tmp_path: Path) -> None:
    from napari_mediround.weights import registry, sources

    inner, target = tmp_path / "in", tmp_path / "out"
    inner.mkdir()
    target.mkdir()
    for name in ("config.json", "evil.py", "evil.pkl", "model.safetensors", "run.sh"):
        (inner / name).write_bytes(b"{}")
    (inner / registry.MANIFEST).write_text('{"files": ' + "[" * 99_999)
    assert sources._copy_folder(inner, target)
    assert {p.name for p in target.iterdir()} == {"config.json", "model.safetensors", registry.MANIFEST}


def zip_slip(path: Path) -> Path:
    return write_bundle(path, "../../../ran")


def absolute_path(path: Path) -> Path:
    return write_bundle(path, str(path.parent / "ran"))


def symbolic_link(path: Path) -> Path:
    return write_bundle(path, "small.pth", b"/etc/passwd", mode=stat.S_IFLNK | 0o777)


def device(path: Path) -> Path:
    return write_bundle(path, "small.pth", mode=stat.S_IFCHR | 0o666)


def tampered(path: Path) -> Path:
    return write_bundle(path, "small.pth", b"X" + CONTENT[1:])


def _index(path: Path, text: str, packed: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", packed) as archive:
        archive.writestr("bundle.json", text)
        archive.writestr(zipfile.ZipInfo("small/small.pth"), CONTENT)
    return path


def _entry(**claim) -> str:
    entry = {"size": len(CONTENT), "sha256": hashlib.sha256(CONTENT).hexdigest()} | claim
    return json.dumps({"format": 1, "weights": {"small": {"small.pth": entry}}})


def bomb_in_the_index(path: Path) -> Path:
    return _index(path, " " * 2**28, zipfile.ZIP_DEFLATED)


def bomb_in_a_member(path: Path) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bundle.json", _entry(size=2**28))
        archive.writestr("small/small.pth", bytes(2**28))
    return path


def a_claim_of_a_million_gigabytes(path: Path) -> Path:
    return _index(path, _entry(size=10**15))


def deep_index(path: Path) -> Path:
    return _index(path, '{"weights":' + "[" * 200_000)


def infinite_index(path: Path) -> Path:
    return _index(path, _entry(size=1).replace("1", "1e999", 1).replace('"size": 1', '"size": 1e999'))


def listed_twice(path: Path) -> Path:
    with (
        pytest.warns(UserWarning, match="Duplicate"),
        zipfile.ZipFile(write_bundle(path, "small.pth"), "a") as more,
    ):
        more.writestr("small/small.pth", b"other")
    return path


def unknown_version(path: Path) -> Path:
    data = bytearray(write_bundle(path, "small.pth").read_bytes())
    at = data.index(b"PK\x01\x02")
    data[at + 6] = 99
    path.write_bytes(data)
    return path


def encrypted(path: Path) -> Path:
    data = bytearray(write_bundle(path, "small.pth").read_bytes())
    for mark, offset in ((b"PK\x01\x02", 8), (b"PK\x03\x04", 6)):
        data[data.rindex(mark) + offset] |= 1
    path.write_bytes(data)
    return path


BUNDLES = (
    zip_slip, absolute_path, symbolic_link, device, tampered, bomb_in_the_index, bomb_in_a_member,
    a_claim_of_a_million_gigabytes, deep_index, infinite_index, listed_twice, unknown_version, encrypted,
)  # fmt: skip


@pytest.mark.parametrize("make", BUNDLES, ids=lambda make: make.__name__)
@pytest.mark.usefixtures("nothing_runs")
def test_a_hostile_bundle_is_refused_whole(small: Path, tmp_path: Path, make) -> None:  # noqa: F811
    path = make(tmp_path / "pack.zip")
    before = {p for p in tmp_path.rglob("*") if "home" not in p.parts}
    with pytest.raises((UnreadableFileError, MissingWeightsError)):
        weights.unbundle(path)
    assert {p for p in tmp_path.rglob("*") if "home" not in p.parts} == before
    assert [p for p in small.parent.parent.rglob("*") if p.is_file()] == []


def test_every_byte_of_a_bundle_may_be_wrong(small: Path, tmp_path: Path) -> None:  # noqa: F811
    whole = write_bundle(tmp_path / "pack.zip", "small.pth").read_bytes()
    ends = [*range(0, 400, 7), *range(len(whole) - 400, len(whole), 7)]
    for at in ends:
        spoilt = bytearray(whole)
        spoilt[at] ^= 0xFF
        (tmp_path / "pack.zip").write_bytes(spoilt)
        try:
            weights.unbundle(tmp_path / "pack.zip")
        except MediRoundError:
            assert not small.exists()
        else:
            assert small.read_bytes() == CONTENT
            small.unlink()
