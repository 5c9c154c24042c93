"""Open a project, bring back its images, rounds, masks and chat; nothing is ever saved by hand."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from napari_mediround.domain.study import Study
from napari_mediround.domain.windows import render_plane
from napari_mediround.errors import MediRoundError, stop_if
from napari_mediround.session import Session
from napari_mediround.widget.chat.case import Case
from napari_mediround.widget.chat.desk import Workplace
from napari_mediround.widget.chat.project import READER, KnownCase, Project
from napari_mediround.widget.chat.turn import explain, open_session
from napari_mediround.widget.chat.view import Action, Message, Picture
from napari_mediround.widget.layers.layer_geometry import study_to_layer
from napari_mediround.widget.worker import Job

PICTURE = 48
"""Pixels of the longer side of a case's picture."""
LISTED = 6
"""So many cases of a project are offered, those worked on last."""
AUTOSAVED = "Every step is saved here at once."
NO_PROJECT = "Choose a folder. Rounds are saved in it; without a folder you cannot ask."


class Projects:
    """The project of a dock, and the cases that it brings back.

    Parameters
    ----------
    place : Workplace
        Viewer, view, worker, model.
    """

    def __init__(self, place: Workplace) -> None:
        self._place = place
        self._known: tuple[KnownCase, ...] = ()
        self._reading: Job | None = None
        self._pictures: dict[str, Picture | None] = {}
        self._shown: Message | None = None

    def start(self, reopen: bool = False) -> None:
        """Open the project, and the case that was worked on last with `reopen`."""
        project, self._known = self._place.project, ()
        self._place.view.show_project(project.name, AUTOSAVED)

        def work(job: Job) -> tuple[str, tuple[KnownCase, ...]]:
            return project.open().report, project.cases()

        self._place.submit(work, partial(self._on_opened, project, reopen), self._on_failed)

    def offer(self) -> Message | None:
        """Return what there is to go on with, for a chat without an image."""
        if not (cases := self._offered()):
            return None
        actions = tuple(
            Action(known.title, known, str(known.path), self._pictures.get(known.info.case))
            for known in cases
        )
        return Message("Go on with a case of this project:", actions=actions)

    def show_offer(self) -> None:
        """Show what there is to go on with, and then picture by picture what the images look like."""
        offer = self.offer()
        if offer is not None and self._place.case is None:
            self._shown = offer
            self._place.say(offer)
            self._look_at_next()

    def _offered(self) -> list[KnownCase]:
        return [known for known in self._known if known.path is not None][:LISTED]

    def _look_at_next(self) -> None:
        """Make the picture of the next case that has none, on the worker; nothing of it is kept on disk."""
        project, pictures = self._place.project, self._pictures
        left = [k for k in self._offered() if k.info.case not in pictures and k.reader in ("", READER)]
        if self._place.case is not None or not left:
            return

        def work(job: Job) -> Picture:
            stop_if(job.cancelled)
            return make_picture(project.read(left[0], job))

        def show(picture: object) -> None:
            pictures[left[0].info.case] = picture if isinstance(picture, Picture) else None
            if project is self._place.project and self._place.lone is self._shown:
                self.show_offer()

        self._place.submit(work, show, show)

    def act(self, key: object) -> bool:
        """Do what an action of the chat means; return whether it was one of these."""
        if not isinstance(key, KnownCase):
            return False
        self._open_image(key)
        return True

    def resume(self, case: Case) -> None:
        """Bring back what the project knows of an image, if it may know it."""
        layer = case.layer()
        if self._place.project.folder is not None:
            self._known = self._place.project.cases()
        shapes = [known.info.shape for known in self._known]
        if case.session is not None or layer is None or case.grid.geometry.shape not in shapes:
            return
        place = self._place

        def work(job: Job) -> Session:
            return open_session(place.segmenter, place.project, case, layer, job)

        place.submit(work, partial(self._on_resumed, case), self._on_failed)

    def cancel(self) -> bool:
        """Wait no longer for an image that is being read; return whether one was."""
        if self._reading is None:
            return False
        self._place.cancel(self._reading)
        self._reading = None
        return True

    def _on_opened(self, project: Project, reopen: bool, opened: tuple[str, tuple[KnownCase, ...]]) -> None:
        if project is not self._place.project:
            return
        report, self._known = opened
        self._place.submit(
            lambda job: self._place.segmenter.follow(project.folder),
            lambda _: self._place.changed.emit(),
            lambda error: self._place.say(explain(error)),
        )
        self._place.view.show_project(project.name, f"{project.folder}\n{AUTOSAVED}")
        if report:
            self._place.say(Message(report, is_error=True))
        case = self._place.case
        if case is not None:
            self.resume(case)
        else:
            self.show_offer()
        shown = case is not None and case.grid.geometry.shape in [k.info.shape for k in self._known]
        if reopen and not shown:
            last = next((known for known in self._known if known.path is not None), None)
            if last is not None:
                self._open_image(last)
            elif self._known:
                self._place.say(Message(
                    f"The project has {len(self._known)} cases, but their images are not where they were. "
                    "Open an image: its rounds come back with it.", is_error=True,
                ))  # fmt: skip

    def _open_image(self, known: KnownCase) -> None:
        if known.reader not in ("", READER):
            self._place.viewer.open(str(known.path), plugin=known.reader)
            return
        self.cancel()
        self._reading = self._place.submit(
            partial(self._place.project.read, known), partial(self._on_read, known), self._on_failed,
            "Reading the image …",
        )  # fmt: skip

    def _on_read(self, known: KnownCase, study) -> None:
        self._reading = None
        data, options, _ = study_to_layer(study, known.path)
        self._place.viewer.add_image(data, **options)

    def _on_resumed(self, case: Case, session: Session) -> None:
        if not session.rounds:
            return
        self._place.show_masks(case, ())
        self._place.refresh(case)
        self._place.case_opened.emit(case)

    def _on_failed(self, error: Exception) -> None:
        self._reading = None
        self._place.say(explain(error))
        if self._place.project.folder is None and isinstance(error, MediRoundError):
            self._place.view.show_project("none", NO_PROJECT)


def make_picture(study: Study) -> Picture:
    """Return the middle plane of a study, small and grey."""
    plane = render_plane(study, study.planes // 2)[..., 1]
    step = max(1, -(-max(plane.shape) // PICTURE))
    small = np.ascontiguousarray(plane[::step, ::step])
    return Picture(*small.shape, small.tobytes())


def project_of(folder: str) -> Project:
    """Return the project in a folder that the user chose."""
    return Project(Path(folder))
