"""What a question is understood to ask for, as a table or as JSON; no model is loaded."""

from __future__ import annotations

import json
from pathlib import Path

from napari_mediround.cli.console import make_table, results
from napari_mediround.errors import SettingsError
from napari_mediround.questions.request import Request
from napari_mediround.questions.situation import Situation
from napari_mediround.questions.understanding import understand_in


def run_understand(text: str | None, state: Path | None, corpus: Path | None, as_json: bool) -> None:
    """Print what a text, or every line of a corpus, is understood to ask for.

    Raises
    ------
    SettingsError
        When there is neither a text nor a corpus, or a file cannot be read.
    """
    if corpus is not None:
        for line in _read_lines(corpus):
            understood = understand_in(str(line.get("text", "")), _situation(line, corpus)).to_dict()
            results().print(
                json.dumps({"id": line.get("id"), "understood": understood}, ensure_ascii=False),
                markup=False,
                soft_wrap=True,
            )
        return
    if text is None:
        raise SettingsError('There is no question. Type one in quotes: mediround understand "the liver".')
    situation = _situation(_read_state(state), state) if state else Situation()
    request = understand_in(text, situation)
    if as_json:
        results().print(json.dumps(request.to_dict(), ensure_ascii=False), markup=False, soft_wrap=True)
    else:
        _show(request)


def _show(request: Request) -> None:
    table = make_table("", "step", "action", "what", "masks", "ruled out", "scope", "certain")
    for number, step in enumerate(request.all_steps, 1):
        how = {
            k: v
            for k, v in step.to_dict().items()
            if k in ("edit", "measure", "verdict", "navigate", "export", "topic")
        }
        what = ", ".join([*map(str, step.targets), *map(str, how.values())])
        masks = " ".join(f"[{r}.{k}]" for r, k in step.references)
        ruled = ", ".join(map(str, step.excluded))
        table.add_row(
            str(number), step.action, what, masks, ruled, str(step.scope), "yes" if step.sure else "no"
        )
    results().print(table)


def _read_lines(path: Path) -> list[dict]:
    try:
        return [json.loads(row) for row in path.read_text("utf-8").split("\n") if row.strip()]
    except (OSError, ValueError) as error:
        raise SettingsError(
            f"{path} cannot be read: {error}. Give a file with one JSON object a line."
        ) from error


def _read_state(path: Path) -> dict:
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise SettingsError(
            f"{path} cannot be read: {error}. Give a JSON file with the masks so far."
        ) from error
    return found if isinstance(found, dict) else {"state": found}


def _situation(line: dict, path: Path | None) -> Situation:
    try:
        return Situation.from_json(
            line.get("state") or (), line.get("modality") or "", line.get("region") or ""
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise SettingsError(
            f"{path}: a mask needs round, index, structure, plane and verdict. Correct the file."
        ) from error
