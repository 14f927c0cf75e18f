"""Where a run's time went: by hand, and on random lives whose truth is known."""

import datetime
from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maxlm.report.goodput import WORDS, Goodput, goodput

EPOCH = 1_800_000_000.0


class _Life:
    """A run as the trainer writes it down, second by second, with what is true of each second beside it."""

    def __init__(self):
        self.now, self.lines, self.events = EPOCH, [], []
        self.truth = defaultdict(float)
        self.step = self.saved = self.logged = 0
        self.running = False
        self.standing = []  # (step, seconds) that were logged and count
        self.unlogged = 0.0  # seconds of steps since the last line
        self.since = defaultdict(float)  # by kind since the last line
        self.dying = 0.0  # seconds since the last sign of life

    def start(self, restore_s: float = 2.0, start_s: float = 3.0) -> None:
        self.step = self.logged = self.saved
        self._undo(self.saved)
        self._pass(start_s, "start")
        self._pass(restore_s, "restore")
        self._event("resumed" if self.step else "run_started", step=self.step)
        self._line({"begins_after": self.step})
        self.running = True

    def _spend(self, kind: str, seconds: float) -> None:
        self._pass(seconds, kind)

    def evaluate(self, seconds: float) -> None:
        self._spend("evaluation", seconds)
        self.lines.append({"step": self.step, "validation/loss": 1.0})
        self._event("evaluated", step=self.step)

    def train(self, steps: int, seconds: float) -> None:
        """So many steps of equal length, then a line."""
        self.walk(steps, seconds)
        if self.step > self.logged:
            for at in range(self.logged + 1, self.step + 1):
                self.standing.append((at, self.unlogged / (self.step - self.logged)))
            self.unlogged = 0.0
            self.logged = self.step
            self._line({"step": self.step, "loss": 2.0})

    def walk(self, steps: int, seconds: float) -> None:
        """Steps of which no line tells yet."""
        self.step += steps
        self.now += steps * seconds
        self.unlogged += steps * seconds

    def save(self, seconds: float) -> None:
        """At the end of a block: what there is has been logged."""
        self.train(0, 0.0)
        self._spend("checkpoint", seconds)
        self.saved = self.step
        self._event("checkpoint", step=self.step)

    def kill(self, later: float) -> None:
        """`later`: time from the last sign of life on, in which nothing was logged."""
        self.now += later
        seen = max([self._last_line(), *(e["at"] for e in self.events if e["event"] != "rollback")])
        begun = seen - self._last_line()
        # Of what the last line does not tell, steps and pauses alike, only what a later event proves is known.
        for kind, seconds in self.since.items():
            self.truth[kind] -= seconds
        self.truth["unfinished"] += begun
        self.truth["stopped"] += self.now - seen
        self.unlogged, self.since, self.running = 0.0, defaultdict(float), False

    def stop(self) -> None:
        """An orderly end, as after Ctrl-C."""
        self.truth["unfinished"] += self.unlogged
        self.unlogged = 0.0
        self._line({"ends": True})
        self.running = False

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.truth["stopped"] += seconds

    def roll_back(self, step: int) -> None:
        self.saved = step
        self._event("rollback", to_step=step)
        self._undo(step)

    def account(self) -> Goodput:
        found = goodput(self.lines, self.events)
        assert found is not None
        return found

    def expected(self) -> dict[str, float]:
        self.truth["productive"] = sum(seconds for _, seconds in self.standing)
        return {kind: seconds for kind, seconds in self.truth.items() if seconds > 1e-3}

    def _undo(self, step: int) -> None:
        self.truth["undone"] += sum(seconds for at, seconds in self.standing if at > step)
        self.standing = [(at, seconds) for at, seconds in self.standing if at <= step]

    def _pass(self, seconds: float, kind: str) -> None:
        self.now += seconds
        self.since[kind] += seconds
        self.truth[kind] += seconds

    def _last_line(self) -> float:
        return max(line["time"] for line in self.lines if "time" in line)

    def _line(self, values: dict) -> None:
        self.lines.append({**values, "time": self.now, "spent": dict(self.since)})
        self.since = defaultdict(float)

    def _event(self, event: str, **fields) -> None:
        time = datetime.datetime.fromtimestamp(self.now, datetime.UTC).isoformat(timespec="microseconds")
        self.events.append({"event": event, "time": time, "at": self.now, **fields})


def _positive(account: Goodput) -> dict[str, float]:
    return {kind: seconds for kind, seconds in account.spent_s.items() if seconds > 1e-3}


def test_an_undisturbed_run():
    life = _Life()
    life.start(restore_s=2, start_s=3)
    life._spend("compile", 20)
    life.train(10, 1.0)
    life._spend("data_wait", 4)
    life.train(10, 1.0)
    life.save(5)
    life.evaluate(6)
    life.stop()
    account = life.account()
    assert _positive(account) == pytest.approx({
        "start": 3, "restore": 2, "compile": 20, "productive": 20, "data_wait": 4, "checkpoint": 5, "evaluation": 6,
    })  # fmt: skip
    assert account.wall_s == pytest.approx(60)
    assert account.share == pytest.approx(20 / 60)
    assert account.sentence(most=2) == "goodput 33.3% of 60.0 s; compiling 33.3%, evaluating 10.0%"
    assert account.rows()[0] == ("steps that count", pytest.approx(20), pytest.approx(1 / 3))


def test_killed_and_started_again():
    life = _Life()
    life.start(restore_s=0, start_s=1)
    life.train(10, 1.0)
    life.save(1)
    life.train(5, 1.0)  # undone
    life.walk(3, 1.0)  # begun, and nobody knows how far they came
    life.kill(later=0)
    life.sleep(30)
    life.start(restore_s=2, start_s=1)
    life.train(10, 1.0)
    life.stop()
    account = life.account()
    assert _positive(account) == pytest.approx(
        {"start": 2, "restore": 2, "checkpoint": 1, "productive": 20, "undone": 5, "stopped": 33}
    )
    assert account.starts == 2
    assert "2 starts" in account.sentence()


def test_rolled_back_in_the_middle_of_what_a_line_sums_up():
    life = _Life()
    life.start(restore_s=0, start_s=0)
    life.train(10, 2.0)
    life.stop()
    life.events.append({"event": "rollback", "to_step": 4, "time": "2027-01-15T08:00:00+00:00", "at": 0})
    account = life.account()
    assert _positive(account) == pytest.approx({"productive": 8, "undone": 12})


def test_clocks_that_run_backwards_between_two_starts_take_nothing_away():
    life = _Life()
    life.start()
    life.train(10, 1.0)
    life.stop()
    life.now -= 3600
    life.saved = 10
    life.start()
    life.train(10, 1.0)
    life.stop()
    account = life.account()
    assert all(seconds >= 0 for seconds in account.spent_s.values())
    assert account.spent_s["productive"] == pytest.approx(20)
    assert account.wall_s == pytest.approx(30)


def test_runs_of_which_nothing_is_known():
    assert goodput([], []) is None
    assert goodput([{"begins_after": 0}, {"step": 10, "loss": 1.0}], []) is None  # of an older program
    life = _Life()
    life.start()
    assert _positive(life.account()) == {"start": 3, "restore": 2}
    assert Goodput().share == 0


SECONDS = st.floats(0.01, 100.0)
ACTIONS = st.one_of(
    st.tuples(st.just("train"), st.integers(1, 20), SECONDS),
    st.tuples(st.just("walk"), st.integers(1, 5), SECONDS),
    st.tuples(st.just("pause"), st.sampled_from(["compile", "data_wait"]), SECONDS),
    st.tuples(st.just("save"), SECONDS),
    st.tuples(st.just("evaluate"), SECONDS),
    st.tuples(st.just("kill"), SECONDS, SECONDS),
    st.tuples(st.just("stop"), SECONDS),
    st.tuples(st.just("roll_back"), st.floats(0, 1), st.booleans(), SECONDS),
)


@given(st.lists(ACTIONS, max_size=40))
def test_every_second_of_a_random_life_is_accounted_for_once(actions):
    life = _Life()
    saves = [0]
    life.start()
    for action, *values in actions:
        if action == "pause":
            life._spend(*values)
        elif action == "kill":
            life.kill(values[0])
            life.sleep(values[1])
            life.start()
        elif action in ("stop", "roll_back"):
            if action == "roll_back" and values[1]:
                life.kill(0.0)
            else:
                life.stop()
            life.sleep(values[-1])
            if action == "roll_back":
                life.roll_back(saves[int(values[0] * (len(saves) - 1))])
                life.sleep(values[-1])
            saves = [step for step in saves if step <= life.saved]
            life.start()
        else:
            getattr(life, action)(*values)
            if action == "save":
                saves.append(life.saved)
    life.stop()
    account = life.account()
    assert _positive(account) == pytest.approx(life.expected(), abs=1e-3, rel=1e-6)
    assert account.wall_s == pytest.approx(life.now - EPOCH)
    assert account.starts == sum("begins_after" in line for line in life.lines)
    assert 0 <= account.share <= 1
    assert account.spent_s.keys() <= WORDS.keys()
