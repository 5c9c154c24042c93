"""The question while it is typed: what it was understood to ask for, and what a person changed in that."""

from __future__ import annotations

from collections.abc import Callable

from napari_mediround.domain.rounds import Reference
from napari_mediround.errors import DanglingReferenceError
from napari_mediround.questions.request import Request
from napari_mediround.questions.understanding import understand
from napari_mediround.widget.chat.case import Case
from napari_mediround.widget.chat.desk import Workplace
from napari_mediround.widget.chat.view import Chip
from napari_mediround.widget.words.understood import Amend, amend, chips_of


class Draft:
    """The question being typed.

    Parameters
    ----------
    place : Workplace
        Viewer, view, and the case at hand.
    about : callable
        Returns plane and window of the next question.
    busy : callable
        Returns whether a question is being answered: no plane is looked at meanwhile.
    """

    def __init__(
        self,
        place: Workplace,
        about: Callable[[], tuple[int, str | tuple[float, float] | None]],
        busy: Callable[[], bool],
    ) -> None:
        self._place, self._about, self._busy = place, about, busy
        self._swaps: dict[str, Reference] = {}
        self._swapped: tuple[Case | None, int] = (None, 0)
        self._typed, self._amends = "", ()
        self._warm: tuple | None = None

    def take(self, text: str) -> Request | None:
        """Return what a question asks for where a person changed that, else None; the chips go."""
        changed = self._understood(text) if self._amends and text == self._typed.strip() else None
        self._amends = ()
        self._place.view.show_chips([], "")
        return changed

    def edit(self, text: str) -> None:
        """Show what a question was understood to ask for, and look at its plane already."""
        self._warm_up(text)
        if text != self._typed:
            self._typed, self._amends = text, ()
        case = self._place.case
        chips: list[Chip] = []
        problem = ""
        if case is not None and text.strip() and self._place.layer() is not None:
            request = self._understood(text)
            try:
                chips = chips_of(request, case.grid.geometry.shape[0])
                chips += self._masks_of(text, request)
            except DanglingReferenceError as error:
                problem = str(error)
        self._place.view.show_chips(chips, problem)

    def _understood(self, text: str) -> Request:
        """Return what a text asks for, with all that a person changed in the chips."""
        case, plane = self._place.case, self._about()[0]
        if case.session is not None:
            request = case.session.understand(text, plane)
        else:
            request = understand(text, plane=plane)
        for change in self._amends:
            request = amend(request, change)
        return request

    def _masks_of(self, text: str, request: Request) -> list[Chip]:
        """Return the chips of the masks that a question points at."""
        case = self._place.case
        if not len(case.conversation):
            return []
        found, swaps = case.session.resolve(text, self._about()[0], request=request), self.swaps
        self._swaps = {r.phrase: swaps[r.phrase] for r in found if r.phrase in swaps}
        return [case.chip(swaps.get(r.phrase, r)) for r in found]

    def swap(self, phrase: str, choice: Reference | Amend) -> None:
        """Change what was understood of the question being typed, or let a phrase point at another mask."""
        if isinstance(choice, Amend):
            self._amends = (*self._amends, choice)
            self.edit(self._typed)
        else:
            self.swaps[phrase] = Reference(choice.round, choice.target, phrase)

    @property
    def swaps(self) -> dict[str, Reference]:
        """What phrases were pointed at instead; nothing once another image, round or branch is at hand."""
        case = self._place.case
        here = case, case.session.head if case is not None and case.session is not None else 0
        if here != self._swapped:
            self._swaps, self._swapped = {}, here
        return self._swaps

    def forget_plane(self) -> None:
        """Look at the plane again when the next question is typed."""
        self._warm = None

    def _warm_up(self, text: str) -> None:
        """Encode the plane while the user types, once the model is there and idle."""
        case, layer = self._place.case, self._place.layer()
        if not text or layer is None or self._busy() or not self._place.segmenter.loaded:
            return
        warm = (case, *self._about())
        if case.session is not None and case.data is layer.data and warm != self._warm:
            self._warm = warm
            self._place.submit(lambda job: case.session.prepare(*warm[1:]), _nothing, _nothing)


def _nothing(result: object) -> None:
    """Take no notice: a plane that could not be looked at is said by the question about it."""
