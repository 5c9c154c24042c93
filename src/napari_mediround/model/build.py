"""From a preset to a model: the only module that knows all parts.

A preset is a TOML file in ``resources/presets``. Nothing is downloaded: weights come from folders that
`weights.locate` finds or that the caller gives. Knows no dialogue.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from inspect import signature
from pathlib import Path
from pickle import UnpicklingError

import torch
from torch import Tensor, nn

import napari_mediround.resources
from napari_mediround.errors import MissingWeightsError, SettingsError
from napari_mediround.libraries import one_at_a_time
from napari_mediround.model.click_maps import PromptMaps
from napari_mediround.model.context import CoarseMask, Context
from napari_mediround.model.convert import is_transformers_sam, load_llava_projector, rename_transformers_sam
from napari_mediround.model.heads import Corrector, Judge
from napari_mediround.model.language import (
    Language,
    LanguageModel,
    build_random_language,
    load_language_folder,
)
from napari_mediround.model.llama import AnsweringLanguage, is_plain
from napari_mediround.model.mediround import CorrectionSettings, MediRound
from napari_mediround.model.prompt import PromptTemplate
from napari_mediround.model.sam import build_mask_decoder, build_prompt_encoder, build_sam_vit
from napari_mediround.model.tinyvit import TinyViT, fold_batch_norms
from napari_mediround.model.vision import ClipVision, PooledVision
from napari_mediround.settings import check_keys, read_toml
from napari_mediround.weights import locate


def _parameters(part: Callable, *given: str) -> tuple[str, ...]:
    """Return the parameters of a part that a preset sets; `given` ones come from elsewhere."""
    return tuple(name for name in signature(part).parameters if name not in ("self", *given))


SECTIONS = {
    "image": (
        *("encoder", "size", "channels", "normalise", "weights"),
        *("widths", "depths", "heads", "windows"),  # of a TinyViT
        *("width", "depth", "global_blocks", "patch"),  # of SAM's ViT
    ),
    "decoder": ("mlp", "depth"),
    "context": _parameters(Context, "channels"),
    "vision": ("kind", "grid", "weights", "layer", "width", "depth", "heads", "size", "patch", "norm"),
    "language": ("weights", "width", "depth", "heads", "dtype"),
    "lora": ("rank", "alpha", "dropout", "targets"),
    "template": _parameters(PromptTemplate, "image_tokens"),
    "judge": _parameters(Judge, "channels"),
    "corrector": _parameters(Corrector, "channels"),
    "correction": _parameters(CorrectionSettings),
    "trained": ("weights",),
}
"""The keys of each section of a preset."""


def preset_names() -> list[str]:
    """Return the presets that are bundled, sorted."""
    return sorted(p.stem for p in _presets_folder().glob("*.toml"))


def _presets_folder() -> Path:
    return Path(napari_mediround.resources.__file__).parent / "presets"


def read_preset(preset: str | Path) -> dict[str, dict]:
    """Read a bundled preset by name, or a TOML file.

    Raises
    ------
    SettingsError
        When there is no such preset, or it has sections or keys that are not known.
    """
    path = Path(preset) if str(preset).endswith(".toml") else _presets_folder() / f"{preset}.toml"
    if not path.is_file():
        raise SettingsError(f"There is no preset {str(preset)!r}. Choose one of {', '.join(preset_names())}.")
    settings = read_toml(path)
    for section, values in settings.items():
        if section not in SECTIONS:
            known = ", ".join(SECTIONS)
            raise SettingsError(f"{path.name}: [{section}] is not known. Known sections: {known}.")
        check_keys(values, SECTIONS[section], f"{path.name}, [{section}]")
    return settings


def build_mediround(
    preset: str | Path,
    seed: int = 0,
    trained: Path | None = None,
    untrained: bool = False,
    folders: Mapping[str, Path] | None = None,
    weights_dir: Path | None = None,
    answering: bool = False,
) -> MediRound:
    """Compose a model and load its weights.

    Parameters
    ----------
    preset : str or Path
        Bundled name or TOML file.
    seed : int
        Of every weight that no file gives.
    trained : Path, optional
        Folder of trained MediRound weights instead of the preset's own.
    untrained : bool
        Load no trained weights: where training starts.
    folders : mapping, optional
        Weight name to folder or file, instead of `weights.locate`.
    weights_dir : Path, optional
        A folder that `weights.locate` looks at first.
    answering : bool
        Only answer, where the preset's language model allows it: without transformers and peft, whose import
        takes seconds. `LanguageModel` comes with `AnsweringLanguage.complete`.

    Returns
    -------
    MediRound
        In evaluation mode on the CPU, float32.

    Raises
    ------
    MissingWeightsError
        When a file is not on this machine.
    """
    from napari_mediround.model.checkpoint import load_trained

    settings = read_preset(preset)
    find = {**(folders or {})}

    def path_of(name: str) -> Path:
        return Path(find[name]) if name in find else locate(name, weights_dir)

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = _compose(settings, path_of, seed, answering)
    if trained is None and "trained" in settings and not untrained:
        trained = path_of(settings["trained"]["weights"])
    if trained is not None:
        load_trained(model, trained)
    return model.eval()


def _build_context(channels: int, detail: int = 32, **shape: int) -> tuple[Context, CoarseMask, PromptMaps]:
    return Context(channels, detail=detail, **shape), CoarseMask(channels, detail), PromptMaps(detail)


def _compose(settings: dict[str, dict], path_of, seed: int, answering: bool) -> MediRound:
    image, decoder = settings["image"], settings["decoder"]
    channels, size = image["channels"], image["size"]
    encoder = _build_encoder(image)
    grid = size // image.get("patch", 16) if image["encoder"] == "sam_vit" else size // 4
    prompt_encoder = build_prompt_encoder(size, grid, channels)
    mask_decoder = build_mask_decoder(channels, decoder["mlp"], decoder["depth"])
    if "weights" in image:
        parts = {"image_encoder": encoder, "prompt_encoder": prompt_encoder, "mask_decoder": mask_decoder}
        state = read_state(path_of(image["weights"]))
        _load_parts(parts, rename_transformers_sam(state) if is_transformers_sam(state) else state)
    if isinstance(encoder, TinyViT):
        encoder = fold_batch_norms(encoder).to(memory_format=torch.channels_last)
    vision = _build_vision(settings["vision"], channels, path_of)
    language = settings["language"]
    folder = path_of(language["weights"]) if "weights" in language else None
    model = _build_language(language, settings["lora"], folder, seed, answering)
    template = PromptTemplate(**settings["template"], image_tokens=vision.tokens)
    judge = Judge(channels, **settings["judge"])
    corrector = Corrector(channels, **settings["corrector"])
    composed = MediRound(
        encoder,
        vision,
        model,
        prompt_encoder,
        mask_decoder,
        judge,
        corrector,
        template,
        size,
        channels,
        image["normalise"],
        CorrectionSettings(**settings.get("correction", {})),
        settings["vision"].get("norm", True),
        *(_build_context(channels, **settings["context"]) if "context" in settings else ()),
    )
    if folder:
        load_llava_projector(composed, folder)
    for part in (composed.image_encoder, composed.vision):
        part.requires_grad_(False)
    return composed


def _build_encoder(image: dict) -> nn.Module:
    if image["encoder"] == "tinyvit":
        names = {"widths": "channels", "depths": "depths", "heads": "heads", "windows": "windows"}
        return TinyViT(
            outputs=image["channels"],
            **{new: tuple(image[old]) for old, new in names.items() if old in image},
        )
    if image["encoder"] == "sam_vit":
        return build_sam_vit(
            image["size"],
            image["width"],
            image["depth"],
            image["heads"],
            tuple(image["global_blocks"]),
            image["channels"],
            image.get("patch", 16),
        )
    raise SettingsError(f"There is no image encoder {image['encoder']!r}: choose 'tinyvit' or 'sam_vit'.")


def _build_language(language: dict, lora: dict, folder: Path | None, seed: int, answering: bool) -> Language:
    lora, dtype = lora | {"targets": tuple(lora["targets"])}, language.get("dtype", "float32")
    if folder is None:
        shape = language["width"], language["depth"], language["heads"]
        return LanguageModel(*build_random_language(*shape, seed), **lora)
    if answering and dtype == "float32" and is_plain(folder):
        return AnsweringLanguage(folder, **lora)
    return LanguageModel(*load_language_folder(folder, getattr(torch, dtype)), **lora)


def _build_vision(vision: dict, channels: int, path_of) -> PooledVision | ClipVision:
    if vision["kind"] == "pooled":
        return PooledVision(channels, vision["grid"])
    with one_at_a_time():
        from transformers import CLIPVisionConfig, CLIPVisionModel

    if "weights" in vision:
        folder = str(path_of(vision["weights"]))
        tower = CLIPVisionModel.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    else:
        tower = CLIPVisionModel(
            CLIPVisionConfig(
                hidden_size=vision["width"],
                intermediate_size=2 * vision["width"],
                num_hidden_layers=vision["depth"],
                num_attention_heads=vision["heads"],
                image_size=vision["size"],
                patch_size=vision["patch"],
            )
        )
    return ClipVision(tower, vision.get("layer", -2))


def read_state(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a .safetensors or .pth file, or of the only such file in a folder; no pickle.

    Raises
    ------
    MissingWeightsError
        When there is none, or it holds anything but tensors: code in it is never run.
    """
    if path.is_dir():
        files = [
            p for suffix in ("*.safetensors", "*.pth", "*.pt", "*.bin") for p in sorted(path.glob(suffix))
        ]
        if not files:
            raise MissingWeightsError(f"{path} holds no weights. Put a .safetensors or .pth file there.")
        path = files[0]
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        packed = path.suffix == ".safetensors"
        state = load_file(path) if packed else torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, UnpicklingError, OSError, EOFError, RuntimeError, ValueError, KeyError) as error:
        remedy = "The file was not used. Fetch or export it again, as .safetensors if possible."
        raise MissingWeightsError(f"{path} is damaged, or holds more than tensors. {remedy}") from error
    state = state.get("model", state) if isinstance(state, dict) else state
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise MissingWeightsError(
            f"{path} holds no named tensors. Choose a file with the weights of a checkpoint."
        )
    return state


def _load_parts(parts: dict[str, nn.Module], state: dict[str, Tensor]) -> None:
    """Load each part from the tensors under its name; SAM's own names, as LiteMedSAM and MedSAM use them."""
    for name, part in parts.items():
        own = {k.removeprefix(f"{name}."): v for k, v in state.items() if k.startswith(f"{name}.")}
        missing, unexpected = part.load_state_dict(own, strict=False)
        if missing or unexpected:
            raise MissingWeightsError(f"The {name} weights do not fit: {(missing + unexpected)[:3]} …")
