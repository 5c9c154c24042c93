"""Write docs/what-you-can-say.md: what can be said, read by the grammar itself, and names in other languages.

``python docs/make_what_you_can_say.py`` (``--check`` only tells whether the page is as it should be). The
examples stand in docs/what-you-can-say.toml; how each is read comes from `questions.understand_in`.
"""

from __future__ import annotations

import argparse
import sys
import textwrap
import tomllib
from pathlib import Path

from napari_mediround.domain.recipes import WITH_OTHERS
from napari_mediround.questions.request import Request
from napari_mediround.questions.situation import Drawn, Situation
from napari_mediround.questions.understanding import understand_in
from napari_mediround.questions.words.lexicon import read_words
from napari_mediround.session.replies import join, spoken

HERE = Path(__file__).parent
PAGE, EXAMPLES = HERE / "what-you-can-say.md", HERE / "what-you-can-say.toml"
LANGUAGES = ("german", "french", "spanish", "italian", "portuguese", "dutch", "chinese", "japanese")


def read_parts() -> list[dict]:
    """Return the parts of the page with their examples."""
    return tomllib.loads(EXAMPLES.read_text("utf-8"))["part"]


def read(line: str, masks: list[str]) -> Request:
    """Return how an example is read, with masks as there are then, one a round."""
    drawn = tuple(Drawn(k, 1, name, number=k) for k, name in enumerate(masks, 1))
    return understand_in(line, Situation(drawn, "CT", "", 0, 80))


def in_words(request: Request) -> str:
    """Return how an example was read, for a person."""
    said = ", then ".join(_step(step) for step in request.all_steps)
    return said if request.sure else f"{said} (not certain)"


def _step(step: Request) -> str:
    masks = join(f"[{round_}]" for round_, _ in step.references if (round_, _) not in step.not_into)
    of = f" {masks}" if masks else " the result" if step.topic.startswith("result") else ""
    if step.action == "segment":
        what = join(spoken(w) if w.structure else f"“{w}”" for w in step.targets) or (
            masks and f"{masks} again"
        )
        without = f", without {join(spoken(w) for w in step.excluded)}" if step.excluded else ""
        carry = not step.targets and step.scope == "stack"
        return f"carry {masks} through the stack" if carry else f"draw {what}{without}{_planes(step.scope)}"
    if step.action == "edit":
        amount = f" by {step.mm:g} mm" if step.mm else f" under {step.ml:g} ml" if step.ml else ""
        sparing = f", not into {join(f'[{r}]' for r, _ in step.not_into)}" if step.not_into else ""
        first, *others = [f"[{round_}]" for round_, _ in step.references] or ["the result"]
        if step.operation in WITH_OTHERS:
            return f"{step.operation} {first} with {join(others)}"
        return f"{step.operation}{of}{amount}{sparing}"
    if step.action == "measure":
        return f"measure: {step.measure.replace('_', ' ')}{' of' + of if of else ''}"
    if step.action == "verdict":
        times = f" {step.steps} steps" if step.steps > 1 else ""
        return f"{step.verdict}{of}{times}" + (f" to “{step.rename}”" if step.rename else "")
    if step.action == "navigate":
        key, value = step.navigate[0]
        return {
            "to": f"plane {value}",
            "by": f"{value:+} planes" if key == "by" else "",
            "show": f"{value}{of}",
            "view": f"{value} view",
            "opacity": f"opacity {value}%",
        }.get(key, f"{key} {value}")
    if step.action == "export":
        return f"export {masks or 'all masks'} as {step.export}"
    return {"ask_back": "asks back", "refuse": "is declined", "answer": "a fixed answer"}[step.action]


def _planes(scope: str | tuple[int, int]) -> str:
    if isinstance(scope, tuple):
        return f" on plane {scope[0]}" if scope[0] == scope[1] else f" on planes {scope[0]} to {scope[1]}"
    words = {"": "", "plane": " on this plane", "stack": " in the stack", "next": " on the next plane"}
    words["previous"] = " on the plane before"
    return words.get(scope, f" in the {scope} view")


def make_page() -> str:
    """Return the text of the page."""
    lines = [
        "# What you can say",
        "",
        _wrap(
            "Written by `docs/make_what_you_can_say.py` from the grammar: the right column is how MediRound "
            "reads the left one. The dock shows the reading as chips while you type; click a chip to change "
            'it or to leave it out. `mediround understand "TEXT"` prints the reading.'
        ),
        "",
    ]
    for part in read_parts():
        lines += [f"## {part['title']}", ""]
        lines += [_wrap(part["about"]), ""] if part["about"] else []
        masks = part.get("masks", [])
        if masks:
            lines += [
                _wrap("Masks so far: " + join(f"[{k}] {name}" for k, name in enumerate(masks, 1)) + "."),
                "",
            ]
        lines += ["| You say | MediRound reads |", "|---|---|"]
        lines += [f"| {line} | {in_words(read(line, masks))} |" for line in part["lines"]]
        lines.append("")
    return "\n".join([*lines, *_languages()]) + "\n"


def _languages() -> list[str]:
    words = read_words("languages")
    names = [words[language]["name"] for language in LANGUAGES]
    lines = [
        "## Other languages",
        "",
        _wrap(
            "Names of the common structures, side words and negation are understood in these languages; the "
            "answer is in English. The sources of the names stand in `resources/words/languages.toml`."
        ),
        "",
        f"| English | {' | '.join(names)} |",
        "|---" * (len(names) + 1) + "|",
    ]
    for english in words["german"]["structures"]:
        found = [(words[language]["structures"].get(english) or ["–"])[0] for language in LANGUAGES]
        lines.append(f"| {english} | {' | '.join(found)} |")
    return lines


def _wrap(text: str) -> str:
    return textwrap.fill(" ".join(text.split()), 110)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true", help="only compare")
    if parser.parse_args().check:
        sys.exit(
            0
            if PAGE.read_text("utf-8") == make_page()
            else "docs/what-you-can-say.md is stale: run the script"
        )
    PAGE.write_text(make_page(), "utf-8")
