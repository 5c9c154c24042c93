"""MR-MedSeg JSON: multi-round dialogues with paths of images and masks in brackets. Opens no image.

References
----------
MediRound, arXiv 2511.12110, and its released data layout (GitHub Edisonhimself/MediRound at 770a5c7).
Where we differ: a turn may name several references and several targets, each with brackets of its own.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

from napari_mediround.errors import UnreadableFileError
from napari_mediround.files import write_whole

IMAGE, MASK, BOX, TARGET, REFERENCE = "IMAGE256", "MASK-ENCODE", "BOX-ENCODE", "MASK-DECODE", "REF-DECODE"
_ASKED, _ANSWERED = (IMAGE, MASK, BOX), (TARGET, REFERENCE)
_OPENING = re.compile(rf"\[({'|'.join(_ASKED + _ANSWERED)}):")
_BRACKET = re.compile(_OPENING.pattern + r"([^\[\]]+)\]")


@dataclass(frozen=True)
class MrTurn:
    """One question and its answer, as written, brackets included.

    Parameters
    ----------
    question : str
        May hold [IMAGE256:path], [MASK-ENCODE:path] and [BOX-ENCODE:path].
    answer : str
        May hold [MASK-DECODE:path] and [REF-DECODE:path].
    ind : tuple of int
        0-based indices of the earlier rounds referred to; the released data has at most one.

    Raises
    ------
    ValueError
        When a bracket is broken or stands on the wrong side, or a path is absolute or climbs out of its
        folder.
    """

    question: str
    answer: str
    ind: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for text, allowed in ((self.question, _ASKED), (self.answer, _ANSWERED)):
            brackets = _BRACKET.findall(text)
            if len(brackets) != len(_OPENING.findall(text)):
                raise ValueError("a bracket is not closed or holds no path")
            for kind, path in brackets:
                if kind not in allowed:
                    raise ValueError(f"[{kind}:…] stands in the wrong half of a turn")
                _check_path(path)

    @classmethod
    def compose(
        cls,
        text: str,
        reply: str,
        *,
        image: str = "",
        references: Iterable[tuple[int, str]] = (),
        targets: Iterable[str] = (),
    ) -> MrTurn:
        """Put brackets around paths: the image first, references after the question, targets after the reply.

        `references` holds (0-based round, path of its mask) pairs; all paths are relative, with slashes.
        """
        references = tuple(references)
        asked = [f"[{IMAGE}:{image}]"] if image else []
        asked += [text, *(f"[{MASK}:{path}][{BOX}:{path}]" for _, path in references)]
        answered = [reply, *(f"[{TARGET}:{path}]" for path in targets)]
        answered += [f"[{REFERENCE}:{path}]" for _, path in references]
        return cls(" ".join(asked), " ".join(answered), tuple(dict.fromkeys(k for k, _ in references)))

    @property
    def text(self) -> str:
        """The question without brackets."""
        return _strip(self.question)

    @property
    def reply(self) -> str:
        """The answer without brackets."""
        return _strip(self.answer)

    def paths(self, kind: str) -> tuple[str, ...]:
        """Paths of one kind of bracket (IMAGE, MASK, BOX, TARGET, REFERENCE), in the order of the text."""
        return tuple(path for k, path in _BRACKET.findall(self.question + self.answer) if k == kind)


@dataclass(frozen=True)
class MrDialogue:
    """All turns about one image.

    Parameters
    ----------
    turns : tuple of MrTurn
    task, base : str
        Kept as the file has them.

    Raises
    ------
    ValueError
        When a turn's `ind` names no earlier turn.
    """

    turns: tuple[MrTurn, ...]
    task: str = "segmentation"
    base: str = "[null]"

    def __post_init__(self) -> None:
        for number, turn in enumerate(self.turns):
            if any(not 0 <= k < number for k in turn.ind):
                raise ValueError(f"turn {number} refers to {turn.ind}, which is no earlier turn")


def read_mrmedseg(path: str | os.PathLike, root: str | os.PathLike | None = None) -> tuple[MrDialogue, ...]:
    """Read the dialogues of a file.

    Parameters
    ----------
    path : path
        A JSON list of dialogues, or one dialogue.
    root : path, optional
        Folder that the paths in brackets start from; the file's own by default.

    Raises
    ------
    UnreadableFileError
        When the file is no such JSON, or a path in it leaves `root`.
    """
    path = Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise UnreadableFileError(path, f"is no readable JSON ({error})", "Export it again.") from error
    entries = content if isinstance(content, list) else [content]
    return tuple(_read_entry(path, Path(root or path.parent), n, entry) for n, entry in enumerate(entries))


def write_mrmedseg(path: str | os.PathLike, dialogues: Iterable[MrDialogue]) -> Path:
    """Write dialogues as a JSON list; the file appears whole or not at all. Return its path."""
    path = Path(path)
    entries = [
        {"task": d.task, "base": d.base, "conversations": [half for t in d.turns for half in _halves(t)]}
        for d in dialogues
    ]
    text = json.dumps(entries, ensure_ascii=False, indent=1)
    write_whole(path, lambda part: part.write_text(text, "utf-8"))
    return path


def locate(root: str | os.PathLike, path: str) -> Path:
    """Return where a bracket's path lies on disk.

    Raises
    ------
    UnreadableFileError
        When it leaves `root`, links followed.
    """
    root = Path(root).resolve()
    try:
        _check_path(path)
        found = (root / path).resolve()
        inside = found.is_relative_to(root)
    except (ValueError, OSError, RuntimeError):
        inside = False
    if not inside:
        raise UnreadableFileError(path, f"leaves the folder {root.name}", "Use paths inside the data folder.")
    return found


def _halves(turn: MrTurn) -> list[dict]:
    asked: dict = {"from": "human", "value": turn.question}
    if turn.ind:
        asked["ind"] = turn.ind[0] if len(turn.ind) == 1 else list(turn.ind)
    return [asked, {"from": "gpt", "value": turn.answer}]


def _read_entry(path: Path, root: Path, number: int, entry: object) -> MrDialogue:
    """Check one dialogue of a file and return it."""
    try:
        halves = entry["conversations"]
        if [h["from"] for h in halves] != ["human", "gpt"] * (len(halves) // 2):
            raise ValueError("questions and answers do not take turns")
        pairs = zip(halves[::2], halves[1::2], strict=True)
        turns = [MrTurn(asked["value"], answered["value"], _indices(asked)) for asked, answered in pairs]
        dialogue = MrDialogue(tuple(turns), str(entry.get("task", "")), str(entry.get("base", "")))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        cause = f"dialogue {number} is not MR-MedSeg ({error})"
        raise UnreadableFileError(path, cause, "Correct or remove that dialogue.") from error
    for turn in dialogue.turns:
        for _, inner in _BRACKET.findall(turn.question + turn.answer):
            locate(root, inner)
    return dialogue


def _indices(asked: dict) -> tuple[int, ...]:
    ind = asked.get("ind", [])
    return tuple(int(k) for k in (ind if isinstance(ind, list) else [ind]) if k is not None)


def _strip(text: str) -> str:
    return re.sub(r"\s+", " ", _BRACKET.sub(" ", text)).strip()


def _check_path(path: str) -> None:
    """Refuse a path that is absolute, climbs up, or means another thing on another system."""
    parts = PurePosixPath(path).parts
    windows = PureWindowsPath(path)
    if path != path.strip() or "\0" in path or "\\" in path or not parts:
        raise ValueError(f"{path!r} is no plain relative path")
    if ".." in parts or path.startswith("/") or windows.drive or windows.root:
        raise ValueError(f"{path!r} leaves its folder; use a relative path without ..")
