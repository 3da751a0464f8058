"""kill -9 at any system call: what was acknowledged is there, nothing torn has a name, nobody is disturbed."""

from __future__ import annotations

import random

import pytest
from stress.bench import SAVING
from stress.scenarios import SCENARIOS
from stress.victims import needs_strace

pytestmark = needs_strace

SIGKILL = -9
TRIED = SAVING
POINTS = 9  # of each scenario in the quick form


def test_killed_at_any_call(victims, long, scenario, way):
    """First it runs unharmed and its calls are counted, then it is killed at each."""
    folder = victims.fresh(scenario)
    unharmed = victims.run(scenario, way, folder)
    assert unharmed.code == 0
    assert not [it for it in unharmed.said if "error" in it], unharmed.said
    SCENARIOS[scenario](folder).check(unharmed.said)
    points = random.Random(0).sample(unharmed.points, len(unharmed.points))
    assert len(points) > 5
    for point in points if long else points[:POINTS]:
        for call, folder, outcome in victims.disturbed(scenario, way, point, "signal=KILL"):
            try:
                assert outcome.code == (SIGKILL if outcome.hit else 0)
                SCENARIOS[scenario](folder).check(outcome.said)
            except BaseException as error:
                error.add_note(f"killed at {call}, first of all at {point}; acknowledged: {outcome.said}")
                raise


@pytest.mark.parametrize("scenario", ["Numbered", "Overwrite"])
def test_killed_again_and_again(victims, long, scenario):
    """In one folder, leftovers beside leftovers."""
    rng = random.Random(1)
    folder = victims.fresh(scenario)
    possible = victims.run(scenario, "hidden", victims.fresh(scenario)).points
    said = []
    for _ in range(200 if long else 10):
        call, turn = rng.choice(possible)
        said += victims.run(scenario, "hidden", folder, f"{call}:signal=KILL:when={turn}").said
    handler = SCENARIOS[scenario](folder).handler
    assert not [it for it in handler.verify() if it.problem]
    if scenario == "Numbered":
        numbers = [it.version for _, it in handler.load_all(animal="A")]
        assert {number for it in said for number, _ in it.get("numbers", ())} <= set(numbers)
        assert numbers == list(range(len(numbers)))
