"""How a request is answered: masks of the model, facts of the record, or one sentence. Half of `Session`."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

from napari_mediround.domain.anatomy import Anatomy, load_anatomy
from napari_mediround.domain.rounds import Answer, Conversation, Reference
from napari_mediround.domain.windows import choose_window
from napari_mediround.errors import DanglingReferenceError, stop_if
from napari_mediround.questions.references import resolve_references
from napari_mediround.questions.request import Request, Wanted
from napari_mediround.questions.words.lexicon import load_lexicon
from napari_mediround.session import replies
from napari_mediround.session.chronicle import tell_record
from napari_mediround.session.facts import tell
from napari_mediround.session.segmenter import Segmenter

UNMEASURED = "There is no mask of it yet. Segment it first, then ask how large it is."
FREE = ("ack", "help", "nothing_asked", "not_understood", "off_topic")
"""Topics that the language model may talk about where a person switched its free text on."""
_WHICH = {
    "dangling": "“{}” points at nothing. Choose one of the masks so far.",
    "several": "“{}” could mean any of several masks. Say the number of one.",
    "missing": "“{}”: there is no mask of that. Choose one of the masks so far.",
}


class Answering:
    """What `Session` does with a `Request`.

    Attributes
    ----------
    segmenter : Segmenter
    anatomy : Anatomy or None
    free_text : bool
        As in `Session`.
    """

    segmenter: Segmenter
    anatomy: Anatomy | None
    free_text: bool

    def _pointed(self, request: Request, text: str, plane: int, after: int | None) -> tuple[Reference, ...]:
        """Return what a question points at; `DanglingReferenceError` for nothing or several masks."""
        dangling = request.topic == "dangling" and request.action in ("ask_back", "refuse")
        if dangling:  # says which words point at nothing, and why
            resolve_references(text, self._first(after), self.anatomy, plane)
        masks = tuple(c for c in request.choices if not isinstance(c, Wanted))
        if request.action == "ask_back" and masks and request.topic in ("dangling", "several", "missing"):
            raise DanglingReferenceError(
                _WHICH[request.topic].format(text[:60]), tuple(Reference(*mask) for mask in masks)
            )
        if request.action == "refuse" and request.topic == "dangling":
            raise DanglingReferenceError(
                f"“{text[:60]}” points at nothing: there is no mask yet. Name a structure first."
            )
        if request.action == "segment" and is_described(request):
            return resolve_references(text, self._first(after), self.anatomy, plane)
        return references_of(request)

    def _other_plane(
        self, request: Request, plane: int, stack: bool = False
    ) -> tuple[int, tuple[int, int] | None, str]:
        """Return the plane that a question asks about, the planes to go through, and what is said instead.

        With `stack` the whole stack is meant where the words do not say which planes.
        """
        scope = request.scope if request.action == "segment" else ""
        shown = self.study.geometry.plane_name.removeprefix("oblique ")
        last, through = self.study.planes - 1, None
        if isinstance(scope, tuple) and scope[0] == scope[1]:
            plane = scope[0]
        elif scope in ("next", "previous"):
            plane += 1 if scope == "next" else -1
        elif isinstance(scope, tuple):
            self._check_plane(scope[0])
            through = scope[0], min(scope[1], last)
            plane = min(max(plane, through[0]), through[1])
        elif scope in ("axial", "coronal", "sagittal") and scope != shown:
            return plane, None, replies.VIEW.format(shown or "stored", scope)
        elif scope == "stack" or (stack and request.action == "segment" and not scope):
            through = (0, last) if last else None
        self._check_plane(plane)
        return plane, through, ""

    def _answered(
        self,
        request: Request,
        text: str,
        conversation: Conversation,
        references: tuple[Reference, ...],
        plane: int,
        window: str | tuple[float, float] | None,
        cancelled: Callable[[], bool] | None,
    ) -> Answer:
        """Return the answer to a request: masks, measurements, or one sentence."""
        later = [step for step in request.all_steps[1:] if step.action != "segment"]
        if request.action == "segment":
            answer = self._drawn(request, text, conversation, references, plane, window, cancelled)
            notes = (answer.note, replies.FIRST_ONLY) if later else (answer.note,)
            return replace(answer, note="\n".join(filter(None, notes)))
        if self.free_text and request.topic in FREE:
            return Answer(self.segmenter.chat(text, conversation, cancelled), note=replies.UNVERIFIED)
        table = wants_table(text)
        said = [self._said(step, references, table) for step in (request, *later)]
        return Answer("\n".join(dict.fromkeys(filter(None, said))))

    def _said(self, request: Request, references: tuple[Reference, ...], table: bool = False) -> str:
        own = references_of(replace(request, then=())) or references
        if request.action == "measure":
            if request.measure != "count" and not own and not (table and not request.targets):
                return UNMEASURED
            return tell(self, request.measure, own, table)
        if request.topic == "record":
            return tell_record(self, request.read_from, own)
        return replies.reply(request)

    def _drawn(self, request, text, conversation, references, plane, window, cancelled) -> Answer:
        """Return the masks of what a request names or describes; never of what it rules out."""
        lexicon = load_lexicon()
        names = [lexicon.name_of(w) for w in request.targets if w.structure]
        if not request.targets:
            names = [conversation.target(r).structure for r in references]
        names += [
            lexicon.name_of(w)
            for step in request.then
            if step.action == "segment"
            for w in step.targets
            if w.structure
        ]
        described = is_described(request)
        self._recall_images(conversation, references)
        self.prepare(plane, choose_window(self.study, text, window))
        stop_if(cancelled)
        known = () if described and not names else tuple(dict.fromkeys(names))
        found = self.segmenter.ask(
            text, conversation, references, cancelled, structures=known, chat=self.free_text
        )
        answer = self._with_absent(found)
        ruled = {lexicon.name_of(w) for w in request.excluded if w.structure}
        ruled |= {n for name in ruled for n in load_anatomy()[name].children if load_anatomy()[name].is_group}
        kept = tuple(t for t in answer.targets if t.structure not in ruled)
        notes = [answer.note]
        if not kept and not answer.absent and not (self.free_text and answer.text and not answer.targets):
            return replace(answer, text=replies.NOT_UNDERSTOOD, targets=())
        if not answer.targets and not answer.absent:
            notes.append(replies.UNVERIFIED)
        unknown = [w for w in request.targets if not w.structure] if known else []
        if unknown:
            notes.append(replies.NOT_DRAWN.format(replies.join(f"“{w}”" for w in unknown)))
        if not request.sure and known and not unknown:
            notes.append(replies.TAKEN.format(replies.join(replies.spoken(w) for w in request.targets)))
        return replace(answer, targets=kept, note="\n".join(filter(None, notes)))


def wants_table(text: str) -> bool:
    """Whether measurements are asked for as a table."""
    return bool(re.search(r"\btab(le|ulate|ular)\b", text.casefold()))


def is_described(request: Request) -> bool:
    """Whether something is asked for that has no name: a place, a description."""
    return any(not w.structure for w in request.targets)


def references_of(request: Request) -> tuple[Reference, ...]:
    """Return the masks that a request points at, those of its further steps as well."""
    found = dict.fromkeys(ref for step in request.all_steps for ref in step.references)
    return tuple(Reference(*ref, phrase=f"[{ref[0]}.{ref[1]}]") for ref in found)
