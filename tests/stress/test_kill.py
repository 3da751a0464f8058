"""kill -9 at any system call: what was acknowledged is there, nothing torn has a name, nobody is disturbed."""

from __future__ import annotations

import random

import pytest
from stress.scenarios import SCENARIOS
from stress.victims import needs_strace, points

pytestmark = needs_strace

SIGKILL = -9
POINTS = 9  # of each scenario in the quick form
BY_HOOK = ["Hooked"]  # its files have names from the start


@pytest.mark.parametrize("way", ["unnamed", "hidden", "claimed"])
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_killed_at_any_call(victims, sample, scenario, way):
    """First it runs unharmed and its calls are counted, then it is killed at each."""
    if scenario in BY_HOOK and way == "unnamed":
        pytest.skip("a hook's files have names")
    folder = victims.fresh(scenario)
    unharmed = victims.run(scenario, way, folder)
    assert unharmed.code == 0
    assert not [it for it in unharmed.said if "error" in it], unharmed.said
    SCENARIOS[scenario](folder).check(unharmed.said)
    assert unharmed.calls.total() > 10
    killed = 0
    for call, turn in sample(points(unharmed.calls), POINTS):
        folder = victims.fresh(scenario)
        outcome = victims.run(scenario, way, folder, f"{call}:signal=KILL:when={turn}")
        killed += outcome.code == SIGKILL
        try:
            SCENARIOS[scenario](folder).check(outcome.said)
        except BaseException as error:
            error.add_note(f"killed at {call} {turn}; acknowledged: {outcome.said}")
            raise
    assert killed >= 0.7 * min(POINTS, unharmed.calls.total()), "the points must be hit"


@pytest.mark.parametrize("scenario", ["Numbered", "Overwrite"])
def test_killed_again_and_again(victims, long, scenario):
    """In one folder, leftovers beside leftovers."""
    rng = random.Random(1)
    folder = victims.fresh(scenario)
    possible = points(victims.run(scenario, "hidden", victims.fresh(scenario)).calls)
    said = []
    for _ in range(200 if long else 10):
        call, turn = rng.choice(possible)
        said += victims.run(scenario, "hidden", folder, f"{call}:signal=KILL:when={turn}").said
    handler = SCENARIOS[scenario](folder).handler
    assert not [it for it in handler.verify() if it.problem]
    if scenario == "Numbered":
        numbers = [it.version for _, it in handler.load_all(animal="A")]
        assert {it["saved"] for it in said if "saved" in it} <= set(numbers)
        assert numbers == list(range(len(numbers)))
