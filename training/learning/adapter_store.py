"""The adapters of a project with their cards: used, rolled back, merged, passed on. One may be live.

Each adapter lies in ``adapters/<name>/``. ``adapters/live.json`` is the history of live adapters, with the
reason of each switch. Knows no model.
"""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import torch
from torch import Tensor

from napari_mediround.errors import AdapterError
from napari_mediround.files import write_whole
from napari_mediround.model.adapter import (
    CARD,
    WEIGHTS,
    AdapterShape,
    is_adapter,
    read_adapter,
    write_adapter,
)

FOLDER, LIVE = "adapters", "live.json"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class Switch:
    """One entry in the history of live adapters.

    Parameters
    ----------
    adapter : str
        Adapter that is live from then on; "" for none.
    utc : str
        Time of the switch.
    why : str
        "won", "rolled back", or a person's reason.
    """

    adapter: str
    utc: str
    why: str


class AdapterStore:
    """The adapters of a project.

    Parameters
    ----------
    project : Path
        Folder of the project.
    """

    def __init__(self, project: Path) -> None:
        self.folder = Path(project) / FOLDER

    def names(self) -> list[str]:
        """Return the names of the adapters, oldest first. One whose card is not written yet is not there."""
        whole = [p.name for p in self.folder.glob("*") if is_adapter(p) and (p / CARD).is_file()]
        return sorted(whole, key=lambda name: (self.card(name).get("made", ""), name))

    def path(self, name: str) -> Path:
        """Return the folder of an adapter.

        Raises
        ------
        AdapterError
            When there is no adapter of that name.
        """
        if not _NAME.fullmatch(name) or not is_adapter(self.folder / name):
            known = ", ".join(self.names()) or "none yet; learn from corrections first"
            raise AdapterError(f"This project has no adapter {name!r}. It has: {known}.")
        return self.folder / name

    def card(self, name: str) -> dict:
        """Return the card of an adapter; `read_adapter` checks it against the weights."""
        return json.loads((self.folder / name / CARD).read_text("utf-8"))

    def history(self) -> list[Switch]:
        """Return the history of live adapters, oldest first.

        Raises
        ------
        AdapterError
            When the file is damaged.
        """
        path = self.folder / LIVE
        if not path.exists():
            return []
        try:
            return [Switch(**entry) for entry in json.loads(path.read_text("utf-8"))]
        except (ValueError, TypeError) as error:
            raise AdapterError(
                f"{path} is damaged ({error}). Delete it and choose an adapter again."
            ) from error

    @property
    def live(self) -> str:
        """Name of the live adapter, "" for none."""
        switches = self.history()
        return switches[-1].adapter if switches else ""

    @property
    def live_path(self) -> Path | None:
        """Folder of the live adapter, None for none."""
        return self.path(self.live) if self.live else None

    def add(self, state: dict[str, Tensor], shape: AdapterShape, card: dict) -> str:
        """Store a new adapter; return its name ("a001", "a002", …)."""
        numbers = [int(p.name[1:]) for p in self.folder.glob("a[0-9]*") if p.name[1:].isdigit()]
        name = f"a{max(numbers, default=0) + 1:03d}"
        write_adapter(self.folder / name, state, shape, {"made": _now(), **card, "name": name})
        return name

    def note(self, name: str, **fields) -> dict:
        """Write fields into an adapter's card; the weights stay as they are. Returns the card."""
        card = self.card(self.path(name).name) | fields
        text = json.dumps(card, indent=1, sort_keys=True)
        write_whole(self.folder / name / CARD, lambda part: part.write_text(text, "utf-8"))
        return card

    def use(self, name: str, reason: str = "") -> None:
        """Make an adapter live; "" for none.

        Parameters
        ----------
        name : str
            One of `names`, or "".
        reason : str
            A person's reason; needed if the card does not say that the adapter won.

        Raises
        ------
        AdapterError
            When the adapter is damaged, or did not win and there is no reason.
        """
        if name:
            _, _, card = read_adapter(self.path(name))
            if not card.get("gate", {}).get("wins") and not reason.strip():
                says = card.get("gate", {}).get("words", "It was not measured.")
                raise AdapterError(
                    f"{name} does not go live by itself: {says} To use it anyway, give a reason."
                )
        self._switch(name, reason.strip() or ("won" if name else "none chosen"))

    def rollback(self) -> str:
        """Return to the adapter that was live before; return its name, "" for none.

        Raises
        ------
        AdapterError
            When nothing was live yet.
        """
        switches = self.history()
        if not switches:
            raise AdapterError("No adapter has been live yet, so there is nothing to go back to.")
        before = _before(switches)
        if before:
            read_adapter(self.path(before))
        self._switch(before, "rolled back")
        return before

    def merge(self, names: Sequence[str], shares: Sequence[float] | None = None) -> str:
        """Store an adapter that is the weighted sum of several; return its name.

        The rank of the new adapter is the sum of their ranks, so the sum is exact. The new adapter is not
        measured: to use it, give a reason or run `mediround adapters measure`.

        Raises
        ------
        AdapterError
            When the adapters belong to different weights or places, or the shares do not fit.
        """
        shares = list(shares or [1 / len(names)] * len(names))
        if len(names) < 2 or len(shares) != len(names):
            raise AdapterError("Name at least two adapters, and one share for each.")
        parts = [read_adapter(self.path(name)) for name in names]
        cards = [card for _, _, card in parts]
        shapes = [shape for _, shape, _ in parts]
        places = {
            (tuple(sorted(state)), card.get("base"), shape.language_targets) for state, shape, card in parts
        }
        if len(places) > 1:
            raise AdapterError(
                "These adapters were learned on different weights or layers and cannot be merged."
            )
        merged = {key: _merge(key, [state[key] for state, _, _ in parts], shares) for key in parts[0][0]}
        ranks = sum(s.language_rank for s in shapes), sum(s.head_rank for s in shapes)
        card = {"base": cards[0].get("base"), "merged": dict(zip(names, shares, strict=True))}
        return self.add(merged, AdapterShape(*ranks, shapes[0].language_targets), card)

    def weaken(self, name: str, share: float) -> str:
        """Store an adapter that is a share of another one; return its name.

        Raises
        ------
        AdapterError
            When it is damaged.
        """
        state, shape, card = read_adapter(self.path(name))
        weak = {key: _merge(key, [tensor], [share]) for key, tensor in state.items()}
        own = {k: v for k, v in card.items() if k not in ("name", "made", "sha256", "shape", "gate", "check")}
        return self.add(weak, shape, {**own, "share": {name: share}})

    def export(self, name: str, folder: Path) -> Path:
        """Copy an adapter (safetensors and JSON) to a new folder and verify the copy; return the folder.

        Raises
        ------
        AdapterError
            When the adapter is damaged, or the folder exists already.
        """
        source, folder = self.path(name), Path(folder)
        read_adapter(source)
        if folder.exists():
            raise AdapterError(f"{folder} exists already. Choose another name.")
        folder.mkdir(parents=True)
        for file in (WEIGHTS, CARD):
            shutil.copyfile(source / file, folder / file)
        read_adapter(folder)
        return folder

    def take_in(self, folder: Path) -> str:
        """Verify an adapter from elsewhere and copy it into the project; return its name.

        The gate in its card does not count here: measure the adapter on this project, or use it for a reason.

        Raises
        ------
        AdapterError
            When it is missing or damaged.
        """
        state, shape, card = read_adapter(folder)
        elsewhere = {"imported": True, "elsewhere": card.pop("gate", {})}
        for key in ("name", "sha256", "shape"):
            card.pop(key, None)
        return self.add(state, shape, {**card, **elsewhere})

    def _switch(self, name: str, why: str) -> None:
        entries = [vars(s) for s in [*self.history(), Switch(name, _now(), why)]]
        text = json.dumps(entries, indent=1) + "\n"
        write_whole(self.folder / LIVE, lambda part: part.write_text(text, "utf-8"))


def _before(switches: Sequence[Switch]) -> str:
    """Return the adapter before the last switch; each roll-back in a row goes one step further back."""
    path: list[str] = [""]
    for switch in switches:
        if switch.why == "rolled back" and len(path) > 1:
            path.pop()
        else:
            path.append(switch.adapter)
    return path[-2] if len(path) > 1 else ""


def _merge(key: str, tensors: Sequence[Tensor], shares: Sequence[float]) -> Tensor:
    """Return LoRA's A stacked and B side by side, B scaled, so that the product is the weighted sum.

    α is twice the rank everywhere, so the scale is 2 before and after.
    """
    if "lora_A" in key:
        return torch.cat(list(tensors), 0)
    if "lora_B" in key:
        return torch.cat([share * tensor for share, tensor in zip(shares, tensors, strict=True)], 1)
    scale = math.prod(float(t[0]) ** share for share, t in zip(shares, tensors, strict=True))
    return torch.tensor([scale, sum(share * float(t[1]) for share, t in zip(shares, tensors, strict=True))])


def compare_cards(first: dict, second: dict) -> list[tuple[str, float | None, float | None]]:
    """Return (name, first, second) for every number that the gate of either card measured."""
    tables = [_numbers(card.get("gate", {}).get("new", {})) for card in (first, second)]
    return [(key, tables[0].get(key), tables[1].get(key)) for key in dict.fromkeys([*tables[0], *tables[1]])]


def _numbers(table: dict, place: str = "") -> dict[str, float]:
    found: dict[str, float] = {}
    for key, value in table.items():
        name = f"{place} {key}".strip()
        if isinstance(value, dict):
            found |= _numbers(value, name)
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            found[name] = value
    return found


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
