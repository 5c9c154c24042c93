"""The loop of all training stages: stopped and started again it ends where an uninterrupted one ends."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from napari_mediround.training.stages.loop import Loop, Memory, Schedule

STEPS = 8


def run(folder, stop_after: int = STEPS, fits: bool = True) -> nn.Linear:
    """Fit a line to noise that each step draws; stop after some steps as a kill would."""
    torch.manual_seed(0)
    line = nn.Linear(3, 1)

    def recall(saved: dict) -> bool:
        if fits:
            line.load_state_dict(saved["line"])
        return fits

    groups = [{"params": list(line.parameters()), "lr": 0.1}]
    keep = lambda: {"line": line.state_dict()}  # noqa: E731
    loop = Loop(folder / "fit", groups, Schedule(STEPS, 2), (7,), Memory(keep, recall, 3), log_every=2)
    for step, rng in loop:
        if step == stop_after:
            return line
        x = torch.from_numpy(rng.normal(size=(5, 3))).float()
        loop.learn((line(x) - x.sum(1, keepdim=True)).square().mean(), right=float(step))
    return line


def test_a_killed_run_goes_on_from_its_checkpoint(tmp_path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    whole = run(tmp_path / "one")
    run(tmp_path / "two", stop_after=5)
    resumed = run(tmp_path / "two")
    assert torch.equal(whole.weight, resumed.weight)
    assert torch.equal(whole.bias, resumed.bias)


def test_the_log_holds_means(tmp_path) -> None:
    run(tmp_path)
    rows = [json.loads(row) for row in (tmp_path / "fit.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [2, 4, 6, 8]
    assert [row["right"] for row in rows] == [0.5, 2.5, 4.5, 6.5]
    assert rows[-1]["loss"] < rows[0]["loss"]


def test_a_checkpoint_of_something_else_is_left_alone(tmp_path) -> None:
    whole = run(tmp_path)
    assert torch.equal(run(tmp_path, fits=False).weight, whole.weight)


def test_the_rate_warms_up_and_ends_at_nothing(tmp_path) -> None:
    line = nn.Linear(1, 1)
    groups = [{"params": list(line.parameters()), "lr": 0.4}]
    loop = Loop(tmp_path / "rate", groups, Schedule(10, 4), (0,), Memory(dict, bool))
    rates = []
    for _ in loop:
        rates.append(loop.optimiser.param_groups[0]["lr"])
        loop.learn(line(torch.ones(1, 1)).square().mean())
    assert rates[:5] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])
    assert loop.optimiser.param_groups[0]["lr"] == pytest.approx(0, abs=1e-9)
