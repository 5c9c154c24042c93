"""What a question was understood to ask for, as chips that a person can change before it is asked."""

from __future__ import annotations

from dataclasses import dataclass, replace

from napari_mediround.domain.rounds import Reference
from napari_mediround.questions.request import Request, Wanted
from napari_mediround.questions.words.lexicon import load_lexicon
from napari_mediround.session.replies import spoken
from napari_mediround.widget.chat.view import Action, Chip

SCOPES = {
    "plane": "on this plane", "stack": "in the whole stack", "next": "on the next plane",
    "previous": "on the plane before",
}  # fmt: skip
SAYS = {
    "ask_back": "asks back", "refuse": "draws nothing", "answer": "an answer in words",
    "export": "export as {}",
}  # fmt: skip


@dataclass(frozen=True)
class Amend:
    """A change of what was understood.

    Parameters
    ----------
    step : int
        Which step of the request, 0-based.
    what : {"targets", "excluded", "scope", "step"}
        What is changed.
    index : int
        Which of several.
    value : Wanted, str or None
        What it is from now on; None takes it out.
    """

    step: int
    what: str
    index: int = 0
    value: Wanted | str | None = None


def amend(request: Request, change: Amend) -> Request:
    """Return a request with one thing changed; a change that leaves nothing to do is not made."""
    steps = list(request.all_steps)
    step = steps[change.step]
    if change.what == "step":
        del steps[change.step]
    elif change.what == "scope":
        steps[change.step] = replace(step, scope=str(change.value or ""))
    else:
        items = list(getattr(step, change.what))
        items[change.index : change.index + 1] = [] if change.value is None else [change.value]
        if change.what == "targets" and not items and not step.references and step.action == "segment":
            del steps[change.step]
        else:
            steps[change.step] = replace(step, **{change.what: tuple(dict.fromkeys(items))})
    if not steps:
        return request
    return replace(steps[0], then=tuple(steps[1:]))


def swap_masks(request: Request, swaps: dict[str, Reference]) -> Request:
    """Return a request whose references, by their phrases, were pointed at other masks."""
    if not swaps:
        return request

    def swapped(refs):
        found = (swaps.get(f"[{r}.{k}]") for r, k in refs)
        return tuple((new.round, new.target) if new else old for new, old in zip(found, refs, strict=True))

    steps = [
        replace(step, references=swapped(step.references), not_into=swapped(step.not_into), then=())
        for step in request.all_steps
    ]
    return replace(steps[0], then=tuple(steps[1:]))


def chips_of(request: Request, planes: int) -> list[Chip]:
    """Return the chips of all that a request was understood to ask for, but for the masks it points at.

    Parameters
    ----------
    request : Request
        Of one step or several.
    planes : int
        How many planes the image has.
    """
    steps, chips = request.all_steps, []
    for number, step in enumerate(steps):
        if number:
            chips.append(Chip("", "then", 0))
        chips += _said(step, number, len(steps))
        chips += [_target(step, number, k, len(steps)) for k in range(len(step.targets))]
        chips += [_excluded(number, k, wanted) for k, wanted in enumerate(step.excluded)]
        if step.action == "segment" and planes > 1 and (step.scope or not number):
            chips.append(_scope(step, number))
    return chips


def _said(step: Request, number: int, steps: int) -> list[Chip]:
    """Return the chip of what is done, where that is not to draw."""
    amount = f" {step.mm:g} mm" if step.mm else f" {step.ml:g} ml" if step.ml else ""
    words = {
        "edit": f"{step.operation}{amount}",
        "measure": step.measure.replace("_", " "),
        "verdict": f"{step.verdict}: {step.rename}" if step.rename else step.verdict,
        "navigate": " ".join(str(v) for _, v in step.navigate),
    }
    text = words.get(step.action, SAYS.get(step.action, "").format(step.export.replace("_", " ")))
    remove = (Action("Leave this step out", Amend(number, "step")),) if steps > 1 else ()
    return [Chip("", text, 0, remove)] if text else []


def _target(step: Request, number: int, k: int, steps: int) -> Chip:
    wanted, choices = step.targets[k], []
    if wanted.structure and load_lexicon().is_pair(wanted.structure):
        sides = [replace(wanted, side=side) for side in ("left", "right", "both") if side != wanted.side]
        choices = [Action(_capital(spoken(one)), Amend(number, "targets", k, one)) for one in sides]
    if len(step.targets) + len(step.references) > 1 or steps > 1:
        choices.append(Action("Leave it out", Amend(number, "targets", k)))
    name = spoken(wanted) if wanted.structure else f"“{wanted}”"
    return Chip("", name, 0, tuple(choices))


def _excluded(number: int, k: int, wanted: Wanted) -> Chip:
    choices = (Action("Do not rule it out", Amend(number, "excluded", k)),)
    return Chip("", f"not {spoken(wanted)}", 0, choices)


def _scope(step: Request, number: int) -> Chip:
    scope = step.scope or "plane"
    if isinstance(scope, tuple):
        name = f"plane {scope[0]}" if scope[0] == scope[1] else f"planes {scope[0]} to {scope[1]}"
    else:
        name = SCOPES.get(scope, f"in the {scope} view")
    others = [Action(_capital(words), Amend(number, "scope", 0, key)) for key, words in SCOPES.items()]
    return Chip("", name, 0, tuple(a for a in others if a.key.value != scope))


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
