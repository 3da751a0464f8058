"""kill -9 at any system call: each result whose save returned is there, no partial file has a name, and others can go on."""

from __future__ import annotations

import random

import pytest
from stress.runner import SAVING_CASES
from stress.scenarios import SCENARIOS
from stress.victims import needs_strace

pytestmark = needs_strace

SIGKILL = -9
TRIED = SAVING_CASES
POINTS = 9  # of each scenario in the quick form


def test_killed_at_any_call(victims, long, scenario, publishing):
    """The scenario runs once to the end, to list its system calls; then it is killed at each of them."""
    folder = victims.prepared_folder(scenario)
    unharmed = victims.run(scenario, publishing, folder)
    assert unharmed.exit_code == 0
    assert not [report for report in unharmed.reports if "error" in report], unharmed.reports
    SCENARIOS[scenario](folder).check(unharmed.reports)
    points = random.Random(0).sample(unharmed.points, len(unharmed.points))
    assert len(points) > 5
    for point in points if long else points[:POINTS]:
        for call, folder, outcome in victims.disturb(scenario, publishing, point, "signal=KILL"):
            try:
                assert outcome.exit_code == (SIGKILL if outcome.reached else 0)
                SCENARIOS[scenario](folder).check(outcome.reports)
            except BaseException as error:
                error.add_note(f"killed at {call}, the first time at {point}; reports: {outcome.reports}")
                raise


@pytest.mark.parametrize("scenario", ["Numbered", "Overwrite"])
def test_killed_again_and_again(victims, long, scenario):
    """Many processes are killed in one folder, so the leftovers of the earlier ones are there."""
    rng = random.Random(1)
    folder = victims.prepared_folder(scenario)
    possible = victims.run(scenario, "hidden", victims.prepared_folder(scenario)).points
    reports = []
    for _ in range(200 if long else 10):
        call, turn = rng.choice(possible)
        reports += victims.run(scenario, "hidden", folder, f"{call}:signal=KILL:when={turn}").reports
    handler = SCENARIOS[scenario](folder).handler
    assert not [check for check in handler.verify() if check.problem]
    if scenario == "Numbered":
        numbers = [result.version for _, result in handler.load_all(animal="A")]
        assert {number for report in reports for number, _ in report.get("numbers", ())} <= set(numbers)
        assert numbers == list(range(len(numbers)))
