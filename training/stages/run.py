"""Train from a recipe: the stages in order. A stopped stage continues from its last checkpoint.

``mediround train RECIPE``. A recipe is a TOML file: ``[run]`` says where and from what, ``[dense]``,
``[pixels]``, ``[text]``, ``[joint]``, ``[finding]`` and ``[judging]`` hold the settings of the stages of the
same names. Knows no patient: the data are what `training.data.prepare` and `training.data.pictures` drew.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from napari_mediround.errors import SettingsError
from napari_mediround.files import hash_file
from napari_mediround.inference.device import choose_device
from napari_mediround.model.build import build_mediround, read_preset
from napari_mediround.model.checkpoint import (
    CARD,
    LANDMARKS,
    load_trained_state,
    save_trained,
    trained_state,
)
from napari_mediround.model.finder import fold_norms
from napari_mediround.model.mediround import MediRound
from napari_mediround.model.prototypes import Prototypes
from napari_mediround.settings import read_toml, to_settings
from napari_mediround.training.data.pictures import load_shares
from napari_mediround.training.data.planes import set_of
from napari_mediround.training.data.prepare import encoded_rows, load_quotas
from napari_mediround.training.stages.dense import DenseSettings, train_dense
from napari_mediround.training.stages.finding import PICTURES, Album, FindingSettings, train_finder
from napari_mediround.training.stages.joint import JointSettings, collect_landmarks, train_joint
from napari_mediround.training.stages.judging import JudgingSettings, train_judging
from napari_mediround.training.stages.pixels import DECODER_PARTS, PixelSettings, train_pixels
from napari_mediround.training.stages.text import TextSettings, train_text
from napari_mediround.weights import locate

STAGES = {
    "dense": DenseSettings,
    "pixels": PixelSettings,
    "text": TextSettings,
    "joint": JointSettings,
    "finding": FindingSettings,
    "judging": JudgingSettings,
}

BUNDLED = "bundled"


@dataclass(frozen=True)
class RunSettings:
    """Settings of a run, shared by its stages.

    Parameters
    ----------
    preset : str
        Preset whose model is trained.
    data : str
        Folder that `training.data.prepare` wrote, and `training.data.pictures` for the finder.
    out : str
        Folder for checkpoints, logs and the weights (``out/weights``).
    device : str
        "auto", "cuda", "mps" or "cpu".
    threads : int
        Threads of torch; 0 leaves the choice to torch.
    seed : int
        Seed of the initial weights.
    begin : str
        Folder of trained weights to go on from with the stages of the recipe; "bundled" for the weights of
        the preset, "" to begin anew.
    fresh : tuple of str
        Parts of the model that begin anew all the same, for example because they must not have seen a set.
    keep : float
        Share of the earlier weights in the result of stage 1, 0…1. The mean of the weights before and after
        training can be better than either (Wortsman et al., WiSE-FT, CVPR 2022).
    """

    preset: str = "lite"
    data: str = "runs/lite/data"
    out: str = "runs/lite"
    device: str = "auto"
    threads: int = 0
    seed: int = 0
    begin: str = ""
    fresh: tuple[str, ...] = ()
    keep: float = 0.0


def read_recipe(path: Path) -> dict[str, object]:
    """Read a recipe; each section becomes the settings of its stage.

    Raises
    ------
    SettingsError
        For an unknown section or key, or a value of the wrong kind.
    """
    kinds = {"run": RunSettings, **STAGES}
    recipe: dict[str, object] = {"run": RunSettings()}
    for section, values in read_toml(path).items():
        if section not in kinds:
            raise SettingsError(f"{path.name}: [{section}] is not known. Known sections: {', '.join(kinds)}.")
        recipe[section] = to_settings(kinds[section], values, f"{path.name}, [{section}]")
    return recipe


def load_stage(model: MediRound, checkpoint: Path) -> None:
    """Load the checkpoint of a stage into the model."""
    load_trained_state(model, torch.load(checkpoint, map_location=model.device, weights_only=True)["model"])


def load_decoder(model: MediRound, checkpoint: Path) -> None:
    """Load the parts of the model that the dense stage and stage 1a trained."""
    stage = torch.load(checkpoint, map_location=model.device, weights_only=True)["stage"]
    for name in DECODER_PARTS:
        prefix = f"{name}."
        part = {k.removeprefix(prefix): v for k, v in stage.items() if k.startswith(prefix)}
        getattr(model, name).load_state_dict(part)


def snapshot(model: MediRound) -> dict[str, Tensor]:
    """Return a copy of all trained tensors, and of the prototypes by their names."""
    known = model.landmarks or Prototypes((), torch.zeros(0, model.channels))
    marks = {f"{LANDMARKS}.{n}": v for n, v in zip(known.names, known.vectors, strict=True)}
    return {name: value.detach().clone() for name, value in (trained_state(model) | marks).items()}


def average_with(model: MediRound, before: dict[str, Tensor], share: float) -> None:
    """Replace the weights of a model by their mean with an earlier `snapshot`, which weighs `share`.

    Prototypes that the snapshot does not have stay unchanged.
    """
    now = snapshot(model)
    mean = {n: torch.lerp(v.float(), before.get(n, v).to(v).float(), share) for n, v in now.items()}
    marks = {n: mean.pop(n) for n in list(mean) if n.startswith(f"{LANDMARKS}.")}
    with torch.no_grad():
        load_trained_state(model, mean)
    if model.landmarks is not None:
        model.landmarks = Prototypes(model.landmarks.names, torch.stack(list(marks.values())))


def main(path: Path, say: Callable[[str], None] | None = None) -> Path:
    """Run a recipe's stages in order; return the folder of the trained weights.

    Parameters
    ----------
    path : Path
        The recipe.
    say : callable, optional
        Called with a line of progress.
    """
    recipe, say = read_recipe(Path(path)), say or (lambda line: None)
    run: RunSettings = recipe["run"]
    out, data = Path(run.out), Path(run.data)
    out.mkdir(parents=True, exist_ok=True)
    if set(recipe) - {"run", "finding"} and not (data / "planes.json").exists():
        raise SettingsError(
            f"{data} holds no prepared planes. Run: python -m napari_mediround.training.data.prepare "
            f"{data} FOLDER_OF_SETS"
        )
    if "finding" in recipe and not (data / PICTURES).is_dir():
        raise SettingsError(
            f"{data} holds no pictures. Run: python -m napari_mediround.training.data.pictures "
            f"{data} FOLDER_OF_SETS"
        )
    if run.threads:
        torch.set_num_threads(run.threads)
    begin = find_begun(run)
    model = build_mediround(run.preset, run.seed, begin, untrained=begin is None)
    if run.fresh:
        anew = build_mediround(run.preset, run.seed, untrained=True)
        for name in run.fresh:
            getattr(model, name).load_state_dict(getattr(anew, name).state_dict())
    model.to(choose_device(run.device))
    before = snapshot(model) if run.keep else {}
    _train_stages(model, recipe, data, out, say)
    if run.keep:  # before stage 2, as the judge is to know the masks that are given
        average_with(model, before, run.keep)
    metrics: dict[str, float] = {}
    if "judging" in recipe:
        say("stage 2: judge and corrector")
        metrics = train_judging(model, data, out, recipe["judging"])
    folder = out / "weights"
    card = make_card(Path(path), run, begin, data, metrics)
    if "finding" in recipe:
        card["pictures_of_sets"] = Album(data / PICTURES, recipe["finding"]).count()
        card["data"] |= find_origins(card["pictures_of_sets"])
    save_trained(model, folder, card)
    say(f"weights: {folder}")
    return folder


def _train_stages(model: MediRound, recipe: dict, data: Path, out: Path, say: Callable[[str], None]) -> None:
    """Run the stages that a recipe names, up to the judge; each loads what the one before has learned."""
    run: RunSettings = recipe["run"]
    if "dense" in recipe:
        say("stage 1a begins: every structure of a plane at once")
        train_dense(model, data, out, recipe["dense"])
    if "pixels" in recipe:
        say("stage 1a: structure vectors and mask decoder")
        train_pixels(model, data, out, recipe["pixels"])
    if "text" in recipe:
        say("stage 1b: language model")
        train_text(model, data, out / "pixels.pt", out, recipe["text"])
    if not run.begin or "text" in recipe:
        load_stage(model, out / "text.pt")
    if not run.begin or "pixels" in recipe:
        load_decoder(model, out / "pixels.pt")  # stage 1b may have run beside 1a and seen an earlier one
    if "joint" in recipe:
        say("stage 1c: decoder and SEG projection together")
        train_joint(model, data, out, recipe["joint"])
        load_stage(model, out / "joint.pt")
        model.landmarks = collect_landmarks(model, out / "bank.pt")
    if "finding" in recipe:
        say("the finder: every plane in ever other clothes")
        finder = train_finder(data / PICTURES, out, recipe["finding"], model.device)
        model.finder = fold_norms(finder).to(model.device)


def find_begun(run: RunSettings) -> Path | None:
    """Return the folder of the weights that a run begins from, None if it begins anew.

    Raises
    ------
    SettingsError
        When no weights are bundled for the preset.
    """
    if run.begin != BUNDLED:
        return Path(run.begin) if run.begin else None
    trained = read_preset(run.preset).get("trained")
    if trained is None:
        raise SettingsError(
            f"No weights are bundled for the preset {run.preset}. Set begin to a folder of weights."
        )
    return locate(trained["weights"])


def read_begun(folder: Path | None) -> dict:
    """Return the card of the weights begun from, without its prototypes; {} if a run begins anew."""
    card = json.loads((folder / CARD).read_text()) if folder else {}
    return {key: value for key, value in card.items() if key != "landmarks"}


def find_origins(sets: Iterable[str]) -> dict[str, dict[str, str]]:
    """Return origin and licence of the sets that ``finder.toml`` and ``datasets.toml`` know."""
    quotas = load_shares() | load_quotas()
    return {
        name: {key: quotas[name][key] for key in ("origin", "licence")} for name in sets if name in quotas
    }


def make_card(
    path: Path, run: RunSettings, begin: Path | None, data: Path, metrics: dict[str, float]
) -> dict:
    """Return the card of a run: recipe, data, base hashes, metrics, and the card that it began from."""
    prepared = (data / "planes.json").exists()
    planes = json.loads((data / "planes.json").read_text()) if prepared else []
    table = [planes[row] for row in encoded_rows(data)] if prepared else []
    preset = read_preset(run.preset)
    bases = {}
    for section in ("image", "language"):
        if "weights" in preset[section]:
            place = locate(preset[section]["weights"])
            file = place if place.is_file() else place / "model.safetensors"
            bases[preset[section]["weights"]] = hash_file(file)
    sets: dict[str, int] = {}
    for entry in table:
        name = set_of(entry)
        sets[name] = sets.get(name, 0) + 1
    return {
        "preset": run.preset,
        "recipe": path.read_text(),
        "bases": bases,
        "planes_of_sets": sets,
        "data": find_origins(sets),
        "metrics_of_training": metrics,
        "begun_from": read_begun(begin),
        "made": time.strftime("%Y-%m-%d", time.gmtime()),
        "licence": "Apache-2.0",
        "not": "a medical device",
    }
