"""Structures followed through the stack in the dock: pause, restart, cancel, doubt, fix, renew and fill."""

from __future__ import annotations

import numpy as np
import pytest
from desk import Desk
from fakes import FakeSegmenter, make_picture, make_volume

from napari_mediround.domain.mask import Mask
from napari_mediround.widget.chat.turn import Show
from napari_mediround.widget.chat.view import Message, Question
from napari_mediround.widget.stack.stack_lines import AcceptAll, Follow, GoOn, NextDoubtful, RejectAll


class Still(FakeSegmenter):
    """Finds a structure again where it was; in doubt on the planes with these numbers of calls."""

    def __init__(self, *doubted: int) -> None:
        super().__init__()
        self.doubted = doubted

    def propagate(self, mask, image, structure=""):
        """Return the mask as it is."""
        self.carried.append((mask, image))
        return mask, 0.5 if len(self.carried) in self.doubted else 0.9


def open_desk(segmenter=None, study=None, plane: int = 2) -> Desk:
    """Return a desk where a plane of a volume is shown."""
    desk = Desk(lambda: segmenter or Still())
    desk.open(study)
    desk.view.plane_chosen.emit(plane)
    return desk


def do_one(desk: Desk) -> None:
    """Let the worker do one job."""
    job = desk.worker.jobs.pop(0)
    if not job.cancelled():
        desk.worker.finished.emit(job, job.work(job))


def begin(desk: Desk, done: int = 0) -> None:
    """Ask for the liver in the stack and let so many planes be done."""
    desk.view.question_asked.emit("the liver in the whole stack")
    while desk.view.stack is None or desk.view.stack.done < done:
        do_one(desk)


def planes(desk: Desk, number: int = 1) -> list[int]:
    """Return the planes that show a structure."""
    shown = desk.session.state.shown
    return sorted(label.plane for label in shown if label.drawn == number and label.mask.area)


def last(desk: Desk) -> Message:
    """Return what was said last, checks of masks aside: those stand below each card."""
    said = [entry for entry in desk.view.entries if isinstance(entry, Message)]
    return [entry for entry in said if not entry.text.startswith("Check: ")][-1]


def actions(desk: Desk) -> dict[str, object]:
    """Return what the last message offers."""
    return {action.label: action.key for action in last(desk).actions}


def test_a_question_about_the_stack_goes_both_ways_and_has_one_card():
    desk = open_desk()
    desk.ask("segment the liver in the whole stack")
    assert planes(desk) == [0, 1, 2, 3, 4]
    assert [type(entry) for entry in desk.view.entries].count(Question) == 1
    (reply,) = desk.replies
    (line,) = reply.masks
    assert (line.number, len(line.ribbon), line.planes) == (1, 5, 5)
    assert line.area.endswith("ml") or "mm³" in line.area
    assert set(np.unique(desk.mask_layer.data)) == {0, 1}
    text = last(desk).text
    assert text == "Propagated 1 liver to 4 planes, 0 to 4. It stopped: the stack ends."
    assert actions(desk) == {"Accept all 4": AcceptAll((5, 4, 2, 3))}, "in the order of the planes"
    assert desk.view.stack is None


def test_the_switch_means_the_stack_and_the_key_follows_the_mask_at_hand():
    desk = open_desk()
    desk.view.stack_chosen.emit(True)
    desk.ask("the liver")
    assert planes(desk) == [0, 1, 2, 3, 4]
    desk.view.stack_chosen.emit(False)
    desk.ask("the spleen")
    assert planes(desk, 6) == [2]
    desk.press("Shift+C")
    assert planes(desk, 6) == [0, 1, 2, 3, 4]


def test_progress_says_how_many_of_how_many_and_a_question_can_be_asked_meanwhile():
    desk = open_desk()
    begin(desk, 1)
    state = desk.view.stack
    assert (state.words, state.done, state.steps) == ("1 liver: plane 3", 1, 4)
    desk.view.question_asked.emit("the spleen")
    desk.worker.run()
    assert planes(desk) == [0, 1, 2, 3, 4]
    assert [r.text for r in desk.session.conversation.rounds if not r.carried][-1] == "the spleen"


def test_a_paused_run_waits_and_goes_on():
    desk = open_desk()
    begin(desk)
    desk.view.run_step_chosen.emit("pause")
    desk.worker.run()
    assert planes(desk) == [2, 3]
    assert desk.view.stack.paused
    desk.view.run_step_chosen.emit("resume")
    desk.worker.run()
    assert planes(desk) == [0, 1, 2, 3, 4]


def test_a_cancelled_run_keeps_what_was_found_and_undo_takes_it_back_in_one_step():
    desk = open_desk()
    begin(desk, 1)
    desk.view.run_step_chosen.emit("cancel")
    desk.worker.run()
    assert planes(desk) == [2, 3]
    assert "It stopped: it was cancelled" in last(desk).text
    assert desk.view.stack is None
    desk.press("U")
    assert planes(desk) == [2]
    desk.press("Shift+U")
    assert planes(desk) == [2, 3]


def test_a_run_cut_off_by_a_restart_is_offered_and_goes_on(tmp_path):
    study = make_volume()
    desk = open_desk(study=study)
    desk.view.project_chosen.emit(str(tmp_path / "p"))
    desk.worker.run()
    begin(desk, 1)
    desk.controller.stop()
    again = Desk(Still)
    again.view.project_chosen.emit(str(tmp_path / "p"))
    again.worker.run()
    again.open(study)
    assert planes(again) == [2, 3]
    assert again.view.entries[-1].text == "1 liver was being propagated: 1 of 4 planes are done."
    assert actions(again) == {"Go on": GoOn(), "End it": GoOn(ends=True)}
    again.view.action_chosen.emit(GoOn())
    again.worker.run()
    assert planes(again) == [0, 1, 2, 3, 4]
    again.press("U")
    assert planes(again) == [2]
    again.controller.stop()


def test_the_viewer_goes_along_where_that_is_wanted():
    desk = open_desk()
    begin(desk)
    desk.view.run_step_chosen.emit("follow")
    while desk.view.stack.done < 1:
        do_one(desk)
    assert desk.view.plane == 3
    desk.worker.run()
    assert desk.view.plane == 0


def test_doubtful_planes_are_asked_about_the_worst_first_and_the_key_goes_there():
    desk = open_desk(Still(2, 3))  # planes 4 and 1
    desk.ask("the liver in the whole stack")
    assert last(desk).text.endswith("2 planes are doubtful: planes 1 and 4.")
    assert list(actions(desk)) == ["Next doubtful (Shift+D)"]
    desk.press("Shift+D")
    assert (desk.view.plane, desk.view.current) == (1, 4)
    desk.press("Shift+D")
    assert desk.view.plane == 4
    desk.view.action_chosen.emit(NextDoubtful(1))
    assert desk.view.plane == 1
    desk.press("J")
    assert (desk.view.current, desk.view.plane) == (3, 4), "the next doubtful plane is at hand"
    (line,) = desk.replies[-1].masks
    standings = [one.standing for one in line.ribbon]
    assert standings == ["proposed", "accepted", "proposed", "proposed", "doubtful"]


def test_one_verdict_is_for_all_planes_or_for_one():
    desk = open_desk(Still(2))
    desk.ask("the liver in the whole stack")
    keys = {action.label: action.key for action in desk.replies[-1].masks[0].actions}
    assert list(keys) == ["Accept 4 sure", "Next doubtful", "Reject all"]
    desk.view.action_chosen.emit(keys["Accept 4 sure"])
    assert [desk.session.label(v).verdict for v in (1, 2, 3, 4, 5)] == ["accepted"] * 2 + [""] + [
        "accepted"
    ] * 2
    desk.press("U")
    desk.view.action_chosen.emit(keys["Reject all"])
    assert planes(desk) == []
    assert isinstance(keys["Reject all"], RejectAll)


def test_a_fix_offers_to_renew_the_doubtful_planes_beside_it():
    desk = open_desk(Still(1, 2))
    desk.ask("the liver in the whole stack")
    before = desk.session.label(2).mask
    desk.view.mask_chosen.emit(1)
    fixed = np.zeros(before.shape, bool)
    fixed[3:9, 3:12] = True
    place = desk.controller._place
    place.take(place.case, desk.session.fix(1, Mask.from_array(fixed)))
    desk.controller._verdicts.judged.emit(place.case, 1)
    assert last(desk).text == ("1 liver is doubtful on planes 3 and 4, beside the plane that you judged.")
    assert list(actions(desk)) == ["Renew 2 doubtful planes"]
    desk.view.action_chosen.emit(actions(desk)["Renew 2 doubtful planes"])
    desk.worker.run()
    shown = {label.plane: label.mask for label in desk.session.state.shown}
    assert shown[3] == shown[4] == Mask.from_array(fixed)
    assert shown[1] == before
    desk.press("U")
    assert {label.plane: label.mask for label in desk.session.state.shown}[3] == before


def test_a_gap_between_two_accepted_planes_can_be_filled():
    desk = open_desk(plane=0)
    desk.ask("the liver")
    desk.press("J")
    desk.view.plane_chosen.emit(4)
    desk.ask("the liver")
    desk.press("J")
    message = last(desk)
    assert message.text == "1 liver has no mask on planes 1 to 3, between two planes that you accepted."
    desk.view.action_chosen.emit(message.actions[0].key)
    desk.worker.run()
    assert planes(desk) == [0, 1, 2, 3, 4]
    desk.press("U")
    assert planes(desk) == [0, 4]


def test_asked_again_on_its_plane_it_offers_to_show_to_replace_and_to_keep_both():
    desk = open_desk()
    desk.ask("the liver")
    desk.ask("segment the liver")
    said = last(desk)
    assert said.text == "Plane 2 has a mask of the liver already: [1]."
    show, replace_it, both = said.actions
    assert [a.label for a in said.actions] == ["Show 1 liver", "Replace it", "Keep both"]
    desk.view.plane_chosen.emit(0)
    desk.view.action_chosen.emit(show.key)
    assert (show.key, desk.view.plane) == (Show(1), 2)
    desk.view.action_chosen.emit(replace_it.key)
    desk.worker.run()
    assert [label.value for label in desk.session.state.shown] == [2]
    assert desk.session.label(2).name == "1 liver"
    desk.view.action_chosen.emit(both.key)
    desk.worker.run()
    assert desk.session.label(3).name == "3 liver"


def test_asked_on_another_plane_it_joins_and_the_earlier_card_says_where_it_is():
    desk = open_desk()
    desk.ask("the liver")
    desk.view.plane_chosen.emit(4)
    desk.ask("the liver")
    first, second = desk.replies
    assert first.masks == ()
    assert first.notes == ("The card of 1 liver is further down, where it was asked for last.",)
    assert [one.plane for one in second.masks[0].ribbon] == [2, 4]


@pytest.mark.parametrize("problem", ["one plane", "rejected", "nothing asked"])
def test_where_there_is_nothing_to_follow_nothing_happens(problem):
    desk = Desk(Still)
    desk.open(make_picture() if problem == "one plane" else None)
    if problem != "nothing asked":
        desk.ask("the liver")
    if problem == "rejected":
        desk.press("N")
    desk.press("Shift+C")
    assert desk.view.entries == [] or isinstance(desk.view.entries[-1], Message)
    assert desk.session is None or len(desk.session.conversation) == 1


def test_a_failure_pauses_the_run_and_is_told_in_words():
    segmenter = Still()
    segmenter.propagate = lambda mask, image, structure: 1 / 0
    desk = open_desk(segmenter)
    desk.ask("the liver in the whole stack")
    assert "ZeroDivisionError" in last(desk).text
    assert desk.view.stack.paused
    del segmenter.propagate
    desk.view.run_step_chosen.emit("resume")
    desk.worker.run()
    assert planes(desk) == [0, 1, 2, 3, 4]


def test_a_closed_image_leaves_the_run_to_be_gone_on_with():
    desk = open_desk()
    layer = desk.controller._place.case.layer()
    begin(desk)
    session, job = desk.session, desk.controller._stacking._run.job
    desk.worker.jobs.remove(job)
    desk.viewer.layers.remove(layer)
    del layer
    desk.worker.finished.emit(job, job.work(job))
    desk.worker.run()
    assert session.stack is not None
    assert not desk.controller._stacking.busy


def test_what_was_undone_meanwhile_ends_the_run():
    desk = open_desk()
    begin(desk, 1)
    job = desk.controller._stacking._run.job
    desk.worker.jobs.remove(job)
    found = job.work(job)
    desk.press("U")
    desk.press("U")
    desk.worker.finished.emit(job, found)
    desk.worker.run()
    assert "has changed" in last(desk).text
    assert desk.session.stack is None


def test_a_mask_of_the_card_can_be_followed_alone():
    desk = open_desk()
    desk.ask("the liver and the spleen")
    offered = {action.label: action.key for action in desk.replies[-1].actions}
    key = offered["Propagate 2 spleen through the stack"]
    assert isinstance(key, Follow)
    desk.view.action_chosen.emit(key)
    desk.worker.run()
    assert (planes(desk, 1), planes(desk, 2)) == ([2], [0, 1, 2, 3, 4])
