"""The learning loop: cancelled, killed and in two processes it learns what it would have learned."""

from __future__ import annotations

import copy
import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from learning_process import SETTINGS, make_learner

from napari_mediround.errors import SettingsError
from napari_mediround.training.learning.routine import CHECKPOINT

SCRIPT = Path(__file__).with_name("learning_process.py")
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Return what an undisturbed run learns."""
    return make_learner(tmp_path_factory.mktemp("whole")).run()


def losses(log) -> list[tuple]:
    return [(line["phase"], line["step"], line["loss"]) for line in log]


def apart(one, other) -> float:
    assert one.keys() == other.keys()
    return max((one[name] - other[name]).abs().max().item() for name in one)


def run_script(out: Path, *arguments: str, launch: tuple[str, ...] = ()) -> int:
    command = [sys.executable, *launch, str(SCRIPT), str(out), *arguments]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode in (0, -9), done.stderr
    return done.returncode


def test_it_learns_words_then_masks_and_reports_each_step(whole):
    assert [line["phase"] for line in whole.log] == ["words"] * 3 + ["masks"] * 6
    assert whole.after < whole.before
    assert whole.finished
    assert whole.state["judge"].tolist() != [1.0, 0.0]


def test_the_model_is_left_as_it_was_and_the_checkpoint_is_gone(tmp_path):
    learner = make_learner(tmp_path)
    before, trained = (
        copy.deepcopy(learner.model.state_dict()),
        [p.requires_grad for p in learner.model.parameters()],
    )
    learner.run()
    after = learner.model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert trained == [p.requires_grad for p in learner.model.parameters()]
    assert not (tmp_path / CHECKPOINT).exists()


def test_cancelled_it_keeps_the_last_good_step_and_goes_on_to_the_same_end(tmp_path, whole):
    seen = []
    learner = make_learner(tmp_path, progress=seen.append, cancelled=lambda: len(seen) == 3 + 4)
    stopped = learner.run()
    assert not stopped.finished
    assert 0 < stopped.step <= 4
    assert stopped.after < stopped.before
    rest = make_learner(tmp_path).run()
    assert rest.finished
    assert losses(rest.log) == losses(whole.log)
    assert apart(rest.state, whole.state) == 0


def test_cancelled_among_the_words_it_goes_on_there(tmp_path, whole):
    seen = []
    assert not make_learner(tmp_path, progress=seen.append, cancelled=lambda: len(seen) == 1).run().finished
    assert losses(make_learner(tmp_path).run().log) == losses(whole.log)


def test_killed_and_started_again_it_learns_to_the_same_loss(tmp_path, whole):
    assert run_script(tmp_path, "3") == -9
    assert (tmp_path / CHECKPOINT).exists()
    assert run_script(tmp_path) == 0
    log = json.loads((tmp_path / "log.json").read_text())
    assert [line["loss"] for line in log] == pytest.approx([line["loss"] for line in whole.log], abs=1e-6)
    assert apart(torch.load(tmp_path / "state.pt", weights_only=True), whole.state) < 1e-6


def test_two_processes_learn_what_one_does(tmp_path, whole):
    launch = ("-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2", "--num_machines", "1")
    assert run_script(tmp_path, launch=(*launch, "--mixed_precision", "no", "--main_process_port", "0")) == 0
    for one, other in zip(json.loads((tmp_path / "log.json").read_text()), whole.log, strict=True):
        assert abs(one["loss"] - other["loss"]) < 1e-4
    assert apart(torch.load(tmp_path / "state.pt", weights_only=True), whole.state) < 1e-4


def test_it_stops_early_where_nothing_gets_better(tmp_path):
    settings = dataclasses.replace(
        SETTINGS, words_steps=0, steps=40, check_every=1, patience=1, head_rate=0.0
    )
    learned = make_learner(tmp_path, settings).run()
    assert len(learned.log) == 2
    assert learned.step == 0


def test_another_recipe_starts_anew(tmp_path, whole):
    seen = []
    make_learner(tmp_path, progress=seen.append, cancelled=lambda: len(seen) == 5).run()
    other = make_learner(tmp_path, dataclasses.replace(SETTINGS, seed=1)).run()
    assert other.log[0]["step"] == 1
    assert losses(other.log)[0] != losses(whole.log)[0]


def test_a_step_too_small_for_the_processes_is_refused(tmp_path):
    with pytest.raises(SettingsError, match="share a step"):
        make_learner(tmp_path, dataclasses.replace(SETTINGS, masks=0))


@pytest.mark.parametrize("whole_is_better", [True, False])
def test_the_check_says_how_much_of_what_was_learned_goes_live(tmp_path, whole_is_better):
    settings = dataclasses.replace(SETTINGS, words_steps=0, steps=1, check_every=1, keep=0.75)
    learner, sizes = make_learner(tmp_path, settings), []

    def size_of(state) -> float:
        return sum(v.norm().item() for n, v in state.items() if n.startswith("heads.") and "lora_B" in n)

    def check(live) -> tuple[float, float]:
        sizes.append(size_of(live))
        return (-sizes[-1] if whole_is_better else sizes[-1] or 1e6), 0.5

    learner._check = check
    learned = learner.run()
    assert sizes[0] == 0
    assert sizes[1] == pytest.approx(0.25 * sizes[2])
    assert size_of(learned.state) == pytest.approx(sizes[2 if whole_is_better else 1])
