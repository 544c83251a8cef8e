import math
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from fakes import LISTING, Curve, MemoryTracker, QuietView, ScriptedExecutor, rising_curve
from hypothesis import given, settings
from hypothesis import strategies as st

from search.config import StudyConfig, make_config
from search.driver.costs import LEAST, predict_again
from search.driver.executors.base import Arrival
from search.driver.interrupts import Interrupt
from search.driver.leaderboard import rank
from search.driver.loop import Ending, StudyLoop
from search.driver.mirror import MirroredStorage
from search.driver.optimization import immunity
from search.driver.progress import StudyStatus
from search.driver.requests import Room, WorkerBug, ask_workers, list_space
from search.driver.storage import open_storage
from search.driver.trials import Trials
from search.errors import ConfigError, ServiceAway, StudyStopped
from search.messages import (
    Answer,
    DiskNews,
    EpochReport,
    FromWorker,
    Outcome,
    Question,
    RepeatTrial,
    Scalar,
    ScoreMembers,
    SpaceListed,
    ToWorker,
    TrainTrial,
    TrialEnded,
    TrialScored,
    WorkerDied,
    WorkerFailed,
    checkpoint_path,
)

Settings = dict[str, object]


class Launch:
    """One launch of a study with scripted workers, on real Optuna."""

    def __init__(
        self,
        store: optuna.storages.BaseStorage,
        curve: Curve,
        executor: type[ScriptedExecutor] = ScriptedExecutor,
        **settings: object,
    ) -> None:
        self.config: StudyConfig = make_config(
            {"name": "scripted", "objective": {"metric": "accuracy"}, **settings}
        )
        self.executor = executor(slots=2, curve=curve)
        self.tracker = MemoryTracker()
        self.view = QuietView()
        self.interrupt = Interrupt()
        self.trials = Trials(storage=store, config=self.config, direction="maximize")
        self.trials.begin(LISTING)
        self.executor.start()
        self.room = Room(
            config=self.config,
            executor=self.executor,
            view=self.view,
            interrupt=self.interrupt,
            start=time.monotonic(),
        )
        self.loop = StudyLoop(self.room, self.trials, self.tracker, ready=set(), baseline=None)

    def run(self) -> Ending:
        return self.loop.run()

    def outcomes(self) -> list[Outcome | None]:
        return [row.outcome for _, row in sorted(self.trials.rows.items())]


@pytest.fixture
def storage() -> optuna.storages.BaseStorage:
    return optuna.storages.InMemoryStorage()


def test_every_trial_of_the_budget_ends_and_is_tracked(
    storage: optuna.storages.BaseStorage,
) -> None:
    launch = Launch(storage, rising_curve, budget={"trials": 30})
    assert launch.run() is Ending.FINISHED
    assert sorted(launch.tracker.ended) == list(range(30))
    assert set(launch.outcomes()) == {Outcome.COMPLETE, Outcome.PRUNED}
    frozen = optuna.load_study(study_name="scripted", storage=storage).trials
    assert [t.state.name == "COMPLETE" for t in frozen] == [
        outcome is Outcome.COMPLETE for outcome in launch.outcomes()
    ]


def test_trial_0_has_the_default_hyperparameters(storage: optuna.storages.BaseStorage) -> None:
    launch = Launch(storage, rising_curve, budget={"trials": 3})
    launch.run()
    assert launch.trials.rows[0].parameters == {"units": 32, "rate": 1e-2, "depth": 2}


def test_a_grid_ends_the_study_whatever_its_budget(
    storage: optuna.storages.BaseStorage,
) -> None:
    grid = {"units": [8, 16], "depth": [1, 3]}
    sampler = {"name": "grid", "grid": grid, "queue": [{"units": 5, "depth": 4, "rate": 0.05}]}
    launch = Launch(storage, rising_curve, sampler=sampler, budget={"trials": 30})
    assert launch.run() is Ending.FINISHED
    found = [tuple(row.parameters.values()) for row in launch.trials.rows.values()]
    asked = [(units, 0.01, depth) for units in (8, 16) for depth in (1, 3)]
    assert found == [(32, 0.01, 2), (5, 0.05, 4), *asked]
    assert launch.trials.spent == "sampler.grid (6 trials)"
    assert launch.loop.status().budget == 6


def test_a_grid_after_another_search_is_tried_whole(
    storage: optuna.storages.BaseStorage,
) -> None:
    Launch(storage, rising_curve, budget={"trials": 6}).run()
    grid = {"name": "grid", "grid": {"units": [8, 16], "depth": [1, 3]}}
    again = Launch(storage, rising_curve, sampler=grid, budget={"trials": 40})
    assert again.trials.spent == ""
    assert again.run() is Ending.FINISHED
    found = [tuple(row.parameters.values()) for row in again.trials.rows.values()]
    assert found[6:] == [(units, 0.01, depth) for units in (8, 16) for depth in (1, 3)]
    assert again.trials.spent == "sampler.grid (10 trials)"
    reader = Trials(storage=storage, config=again.config, direction="maximize")
    assert reader.spent == "sampler.grid (10 trials)"
    more = {"name": "grid", "grid": {"units": [8, 16], "depth": [1, 3, 4]}}
    last = Launch(storage, rising_curve, sampler=more, budget={"trials": 40})
    assert last.run() is Ending.FINISHED
    assert len(last.trials.rows) == 12


def test_a_grid_whose_candidates_cannot_be_built_ends_all_the_same(
    storage: optuna.storages.BaseStorage,
) -> None:
    def refuse(number: int, parameters: object) -> list[float] | TrialEnded:
        if number in (2, 4):
            return TrialEnded(outcome=Outcome.INVALID, reason="no room for a kernel")
        return [0.5] * 5

    grid = {"name": "grid", "grid": {"units": [8, 16], "depth": [1, 3]}}
    launch = Launch(storage, refuse, sampler=grid, budget={"trials": 40})
    assert launch.run() is Ending.FINISHED
    assert len(launch.trials.rows) == 5


def test_hyperband_and_tpe_go_together(storage: optuna.storages.BaseStorage) -> None:
    launch = Launch(storage, rising_curve, budget={"trials": 40}, pruner={"name": "hyperband"})
    assert launch.run() is Ending.FINISHED
    assert len(launch.trials.rows) == 40


def test_a_budget_of_epochs_ends_the_study_once_they_are_spent(
    storage: optuna.storages.BaseStorage,
) -> None:
    budget = {"trials": 100, "max_epochs": 40}
    launch = Launch(storage, rising_curve, budget=budget)
    assert launch.run() is Ending.FINISHED
    epochs = [row.epochs for row in launch.trials.rows.values()]
    # Two run at once, of five epochs at most.
    assert 40 <= sum(epochs) < 40 + 2 * 5
    assert None not in launch.outcomes()
    assert launch.trials.spent == "budget.max_epochs (40)"
    again = Launch(storage, rising_curve, budget=budget)
    assert again.run() is Ending.FINISHED
    assert len(again.trials.rows) == len(epochs)


@pytest.mark.parametrize("pruner", ["early", "median", "successive_halving"])
def test_several_objectives_are_pruned_by_the_first_and_leave_a_front(
    storage: optuna.storages.BaseStorage, pruner: str
) -> None:
    def launch(trials: int) -> Launch:
        also = {"metric": "accuracy", "also": ["latency_ms", "parameters"]}
        made = Launch(
            storage,
            rising_curve,
            objective=also,
            pruner={"name": pruner, "keep": 0.25},
            budget={"trials": trials},
        )
        made.executor.timed = True
        return made

    assert launch(20).run() is Ending.FINISHED
    second = launch(40)
    assert second.run() is Ending.FINISHED
    trials = second.trials
    assert set(second.outcomes()) == {Outcome.COMPLETE, Outcome.PRUNED}
    study = optuna.load_study(study_name="scripted", storage=storage)
    assert [one.name for one in study.directions] == ["MAXIMIZE", "MINIMIZE", "MINIMIZE"]
    for row in trials.leaders:
        assert study.trials[row.number].values == [row.value, row.latency_ms, 100]
    front = {(row.value, row.latency_ms) for row in trials.front}
    assert front == {(one.values[0], one.values[1]) for one in study.best_trials}
    assert len(front) > 1


def test_the_sampler_hears_by_how_much_a_candidate_is_too_slow(
    storage: optuna.storages.BaseStorage,
) -> None:
    def curve(number: int, parameters: Mapping[str, Scalar]) -> Sequence[float] | TrialEnded:
        if float(parameters["units"] or 0) > 50:
            return TrialEnded(outcome=Outcome.OVERSIZED, parameters=parameters)
        if number == 3:
            return TrialEnded(outcome=Outcome.DIVERGED, parameters=parameters)
        return rising_curve(number, parameters)

    launch = Launch(storage, curve, limits={"latency_ms": 5.0}, budget={"trials": 25})
    launch.executor.timed = True
    launch.run()
    over = [n for n, row in launch.trials.rows.items() if row.outcome is Outcome.OVERSIZED]
    assert over
    for frozen in optuna.load_study(study_name="scripted", storage=storage).trials:
        excess = 0.1 * frozen.params["units"] / 5 - 1
        expected = {"limits.latency_ms": pytest.approx(excess)}
        if frozen.number == 3 and excess <= 0:
            expected["usable"] = 1.0
        assert dict(frozen.constraints) == expected
        assert (excess > 0) == (frozen.number in over)


SECOND = {
    "pruner": {"name": "early", "second_chances": True, "keep": 0.25},
    "workers": {"count": 1},
}


def late(number: int, parameters: Mapping[str, Scalar]) -> Sequence[float]:
    """Trial 1 is second, which of the first four trials is pruned, and of more is not."""
    best = {0: 0.9, 1: 0.5}.get(number, 0.1 if number < 5 else 0.5)
    return [best * (epoch + 1) / 8 for epoch in range(8)]


def launch_second(store: optuna.storages.BaseStorage, curve: Curve, **more: object) -> Launch:
    settings: Settings = {"budget": {"trials": 7}, "training": {"max_epochs": 8}, **SECOND, **more}
    launch = Launch(store, curve, **settings)
    launch.executor.slots = 1
    launch.executor.forget_ready()
    launch.executor.start()
    launch.executor.trained = Counter()
    return launch


def test_a_pruned_trial_goes_on_once_it_is_among_those_that_do(
    storage: optuna.storages.BaseStorage,
) -> None:
    launch = launch_second(storage, late)
    assert launch.run() is Ending.FINISHED
    rows = launch.trials.rows
    (row,) = [row for row in rows.values() if row.continues is not None]
    assert row.continues == 1
    assert (row.begun_at, row.epochs, row.own_epochs) == (3, 8, 5)
    assert (row.seed, row.parameters) == (rows[1].seed, rows[1].parameters)
    assert (rows[1].outcome, row.outcome) == (Outcome.PRUNED, Outcome.COMPLETE)
    # It is no trial of the budget's, but its epochs are spent.
    assert len(rows) == 8
    spent = [one.own_epochs for one in rows.values()]
    assert sum(spent) == sum(row.epochs for row in rows.values()) - 3
    assert launch.tracker.promotions[row.number].number == 1
    reason = launch.tracker.promotions[row.number].reason
    assert reason.startswith(
        "Continues trial 1: its 0.1875 after epoch 3 is now among the best 25% "
    )
    assert f"Trial {row.number}: {reason}" in launch.view.said
    assert [one.epoch for one in launch.tracker.epochs[row.number]] == [3, 4, 5, 6, 7]
    frozen = optuna.load_study(study_name="scripted", storage=storage).trials[row.number]
    assert sorted(frozen.intermediate_values) == [3, 4, 5, 6, 7]
    assert frozen.params == storage.get_trial(frozen._trial_id - row.number + 1).params


def test_a_second_chance_that_was_interrupted_is_one_still(
    storage: optuna.storages.BaseStorage,
) -> None:
    def curve(number: int, parameters: Mapping[str, Scalar]) -> Sequence[float]:
        if launch.trials.rows[number].continues is not None:
            launch.interrupt.requested = True
        return late(number, parameters)

    launch = launch_second(storage, curve)
    assert launch.run() is Ending.INTERRUPTED
    (before,) = [row for row in launch.trials.rows.values() if row.continues is not None]
    assert before.outcome is Outcome.INTERRUPTED
    again = launch_second(storage, late)
    again.executor.trained = launch.executor.trained
    assert again.run() is Ending.FINISHED
    row = again.trials.rows[before.number]
    assert (row.continues, row.begun_at, row.epochs) == (1, 3, 8)
    assert row.seed == before.seed == again.trials.rows[1].seed
    assert [one.continues for one in again.trials.rows.values()].count(1) == 1


def test_the_best_of_the_pruned_keep_their_state_and_give_it_away(
    storage: optuna.storages.BaseStorage, tmp_path: Path
) -> None:
    folder = tmp_path / "checkpoints" / "scripted"
    folder.mkdir(parents=True)
    handed: list[str] = []

    def curve(number: int, parameters: Mapping[str, Scalar]) -> Sequence[float]:
        path = checkpoint_path(folder, number)
        first = launch.trials.rows[number].continues
        if first is not None:
            handed.append(path.read_text())
        path.write_text(str(number))
        path.with_name(f"{path.name}.previous").write_text(str(number))
        return late(min(number, 4) if first is None else first, parameters)

    pruner = {**SECOND["pruner"], "kept": 2}
    launch = launch_second(storage, curve, pruner=pruner, storage={"folder": str(tmp_path)})
    launch.run()
    assert handed == ["1"]
    # Of 1, 2 and 3 the last had to go; 1 was continued, as trial 5; then there was room for 6.
    assert launch.trials.rows[5].continues == 1
    kept = {checkpoint_path(folder, number) for number in (2, 6)}
    assert set(folder.iterdir()) == kept | {
        path.with_name(f"{path.name}.previous") for path in kept
    }
    # Another launch knows them.
    again = launch_second(storage, curve, pruner=pruner, storage={"folder": str(tmp_path)})
    assert again.trials._held == {2, 6}


def test_immune_trials_run_to_the_end_whatever_the_pruner_says(
    storage: optuna.storages.BaseStorage,
) -> None:
    launch = Launch(
        storage,
        rising_curve,
        budget={"trials": 60},
        pruner={"name": "early", "immune": 0.3, "keep": 0.25},
    )
    launch.run()
    drawn = [n for n in launch.trials.rows if immunity(launch.config.seed, n) < 0.3]
    assert 8 < len(drawn) < 28
    immune = [launch.trials.rows[n] for n in drawn]
    assert {row.outcome for row in immune} == {Outcome.COMPLETE}
    spared = [row for row in immune if row.spared]
    assert spared
    for row in spared:
        assert "is not among the best 25%" in row.spared
        assert row.reason == f"Immune (pruner.immune); it would have been pruned: {row.spared}"
        assert launch.tracker.ended[row.number].reason == row.reason
    assert Outcome.PRUNED in launch.outcomes()


def test_an_immune_trial_that_stopped_by_itself_says_both(
    storage: optuna.storages.BaseStorage,
) -> None:
    trials = Launch(storage, rising_curve, pruner={"name": "early", "epoch": 1, "immune": 1}).trials
    for value in (0.9, 0.1):
        number = trials.ask()
        told = EpochReport(epoch=0, metrics={}, objective=value, best=value, seconds=0.01)
        assert trials.report(number, told).outcome is None
        ended = TrialEnded(
            outcome=Outcome.COMPLETE, value=value, epochs=1, reason="no better epoch"
        )
        row = trials.end(number, ended)
    assert row.reason.startswith(
        "no better epoch; Immune (pruner.immune); it would have been pruned"
    )


def test_a_study_that_becomes_no_better_ends_and_says_so(
    storage: optuna.storages.BaseStorage,
) -> None:
    def curve(number: int, parameters: Mapping[str, Scalar]) -> Sequence[float]:
        # Better with every trial, by less and less: at last by less than what a seed does.
        return [1.0 - 0.5**number + 0.001 * (number == 1)] * 4

    def launch() -> Launch:
        budget = {"trials": 100, "plateau": 6}
        return Launch(
            storage, curve, budget=budget, pruner={"name": "early", "epoch": 1, "keep": 0.05}
        )

    first = launch()
    assert first.run() is Ending.FINISHED
    rows = first.trials.rows
    repeats = [row for row in rows.values() if row.parameters == rows[0].parameters]
    assert [row.number for row in repeats] == [0, 1, 2]
    assert {row.outcome for row in repeats} == {Outcome.COMPLETE}  # no pruner ends these
    assert 9 < len(rows) < 30
    assert first.trials.spent.startswith("budget.plateau (6: none of the last ")
    assert launch().run() is Ending.FINISHED
    assert len(launch().trials.rows) == len(rows)


@pytest.mark.parametrize("pruner", ["early", "median"])
def test_trial_0_is_never_pruned(storage: optuna.storages.BaseStorage, pruner: str) -> None:
    trials = Launch(storage, rising_curve, pruner={"name": pruner, "epoch": 2}).trials

    def play(number: int, value: float) -> Outcome:
        for epoch in range(4):
            report = EpochReport(epoch=epoch, metrics={}, objective=value, best=value, seconds=0.01)
            verdict = trials.report(number, report)
            if verdict.outcome is not None:
                break
        outcome = verdict.outcome or Outcome.COMPLETE
        trials.end(number, TrialEnded(outcome=outcome, value=value, epochs=epoch + 1))
        return outcome

    numbers = [trials.ask() for _ in range(8)]
    good = [play(number, 0.5 + number / 100) for number in numbers[1:-1]]
    assert good == [Outcome.COMPLETE] * 6
    assert play(numbers[-1], 0.1) is Outcome.PRUNED
    assert play(0, 0.1) is Outcome.COMPLETE


def test_only_the_best_quarter_goes_on_after_the_early_epoch(
    storage: optuna.storages.BaseStorage,
) -> None:
    def falling(number: int, parameters: object) -> list[float]:
        return [1.0 - number / 100] * 5

    launch = Launch(
        storage, falling, budget={"trials": 12}, pruner={"name": "early", "epoch": 2, "keep": 0.25}
    )
    launch.run()
    assert launch.outcomes()[:1] == [Outcome.COMPLETE]
    assert Outcome.PRUNED in launch.outcomes()
    pruned = [e for e in launch.tracker.ended.values() if e.outcome is Outcome.PRUNED]
    assert {e.epochs for e in pruned} == {2}
    assert all("best 25%" in e.reason for e in pruned)


def test_a_resumed_study_continues_its_open_trials_and_repeats_no_parameters(
    storage: optuna.storages.BaseStorage,
) -> None:
    first = Launch(storage, rising_curve, budget={"trials": 20})

    def stop_at_8(number: int, parameters: object) -> list[float]:
        if number == 8:
            first.interrupt.requested = True
        return [0.1, 0.2, 0.3, 0.4, 0.5]

    first.executor.curve = stop_at_8
    assert first.run() is Ending.INTERRUPTED
    open_trials = [n for n, row in first.trials.rows.items() if row.outcome is Outcome.INTERRUPTED]
    assert open_trials

    second = Launch(storage, rising_curve, budget={"trials": 20})
    assert second.run() is Ending.FINISHED
    assert [order.number for order in second.executor.orders][: len(open_trials)] == open_trials
    assert len(second.trials.rows) == 20
    assert Outcome.INTERRUPTED not in second.outcomes()
    asked = {tuple(sorted(row.parameters.items())) for row in second.trials.rows.values()}
    assert len(asked) == 20
    assert second.trials.rows[open_trials[0]].parameters == (
        first.trials.rows[open_trials[0]].parameters
    )


def test_a_trial_whose_worker_died_begins_again_under_its_number(
    storage: optuna.storages.BaseStorage,
) -> None:
    deaths: list[int] = []

    def die_once(number: int, parameters: object) -> list[float] | WorkerDied:
        if number == 2 and not deaths:
            deaths.append(number)
            return WorkerDied(reason="worker 0 was killed by SIGKILL")
        return [0.5] * 5

    launch = Launch(storage, die_once, budget={"trials": 5}, pruner={"name": "none"})
    assert launch.run() is Ending.FINISHED
    assert launch.outcomes() == [Outcome.COMPLETE] * 5
    assert [order.number for order in launch.executor.orders].count(2) == 2
    assert any("Trial 2 is taken up again" in text for text in launch.view.said)


class HastyExecutor(ScriptedExecutor):
    """A trial ends as soon as it is begun."""

    def _play(self, slot: int, order: TrainTrial) -> Iterator[FromWorker]:
        yield self._ended(Outcome.COMPLETE, [0.5], {}, "")


def test_where_trials_end_faster_than_they_begin_no_worker_is_left_out(
    storage: optuna.storages.BaseStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("search.driver.loop.TURN_SECONDS", 0.0)  # one trial begins at a time
    launch = Launch(storage, rising_curve, HastyExecutor, budget={"trials": 10})
    assert launch.run() is Ending.FINISHED
    assert len(launch.executor.orders) == 10
    assert set(launch.executor.given) == {0, 1}


class NotingExecutor(ScriptedExecutor):
    """Notes whom it brings answers to."""

    def __init__(self, slots: int, curve: Curve) -> None:
        super().__init__(slots, curve)
        self.answered: list[int] = []

    def send(self, slot: int, message: ToWorker) -> None:
        if isinstance(message, Answer):
            self.answered.append(self.given[slot])
        super().send(slot, message)


def test_a_candidate_that_was_answered_before_is_answered_before_others(
    storage: optuna.storages.BaseStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("search.driver.loop.TURN_SECONDS", 0.0)  # one answer at a time
    launch = Launch(storage, rising_curve, NotingExecutor, budget={"trials": 2})
    assert launch.run() is Ending.FINISHED
    executor = launch.executor
    assert isinstance(executor, NotingExecutor)
    assert executor.answered == [0] * len(LISTING) + [1] * len(LISTING)


class DyingExecutor(ScriptedExecutor):
    """A worker reports an epoch and is dead before anybody has looked, once."""

    dead = False

    def receive(self, max_seconds: float) -> Sequence[Arrival]:
        arrivals = super().receive(max_seconds)
        for slot, message in arrivals:
            if isinstance(message, EpochReport) and self.given[slot] == 2 and not self.dead:
                self.dead = True
                self._workers[slot] = iter(())
                death = WorkerDied(reason="worker 0 was killed by SIGKILL")
                return [*arrivals, (slot, death), (slot, self._ready(slot))]
        return arrivals


def test_what_a_worker_reported_just_before_it_died_counts(
    storage: optuna.storages.BaseStorage,
) -> None:
    launch = Launch(
        storage, rising_curve, DyingExecutor, budget={"trials": 5}, pruner={"name": "none"}
    )
    assert launch.run() is Ending.FINISHED
    assert launch.outcomes() == [Outcome.COMPLETE] * 5
    assert "Trial 2 goes on after epoch 0; 1 reported before are trained again." in launch.view.said


def test_a_trial_whose_worker_always_dies_fails_and_the_study_goes_on(
    storage: optuna.storages.BaseStorage,
) -> None:
    def die(number: int, parameters: object) -> list[float] | WorkerDied:
        return WorkerDied(reason="worker 0 was killed by SIGKILL") if number == 2 else [0.5] * 5

    launch = Launch(
        storage, die, budget={"trials": 5}, pruner={"name": "none"}, workers={"max_restarts": 2}
    )
    launch.run()
    assert launch.outcomes()[2] is Outcome.FAILED
    assert launch.outcomes().count(Outcome.COMPLETE) == 4
    assert [order.number for order in launch.executor.orders].count(2) == 3
    assert "died 3 times without a new epoch" in launch.tracker.ended[2].reason


class PreemptedExecutor(ScriptedExecutor):
    """Whatever trains trial 1 is lost after each epoch, and the trial goes on from there elsewhere."""

    def receive(self, max_seconds: float) -> Sequence[Arrival]:
        arrivals = list(super().receive(max_seconds))
        for slot, message in list(arrivals):
            if isinstance(message, EpochReport) and self.given[slot] == 1:
                self._workers[slot] = iter(())
                self.trained = self.trained or Counter()
                (seed,) = {order.seed for order in self.orders if order.number == 1}
                self.trained[seed] = message.epoch + 1
                arrivals += [
                    (slot, WorkerDied(reason="its machine left")),
                    (slot, self._ready(slot)),
                ]
        return arrivals


def test_a_trial_that_gets_on_is_taken_up_however_often_its_machines_leave(
    storage: optuna.storages.BaseStorage,
) -> None:
    launch = Launch(
        storage,
        rising_curve,
        PreemptedExecutor,
        budget={"trials": 3},
        pruner={"name": "none"},
        workers={"max_restarts": 1},
    )
    assert launch.run() is Ending.FINISHED
    assert launch.outcomes() == [Outcome.COMPLETE] * 3
    assert [order.number for order in launch.executor.orders].count(1) == 6


def test_a_worker_that_says_nothing_is_ended_and_its_trial_taken_up_again(
    storage: optuna.storages.BaseStorage,
) -> None:
    def hang_once(number: int, parameters: object) -> list[float] | None:
        orders = [order.number for order in launch.executor.orders]
        return None if number == 1 and orders.count(1) == 1 else [0.5] * 5

    launch = Launch(
        storage,
        hang_once,
        budget={"trials": 4},
        pruner={"name": "none"},
        workers={"max_silent_seconds": 0.05},
    )
    assert launch.run() is Ending.FINISHED
    assert launch.outcomes() == [Outcome.COMPLETE] * 4
    assert len(launch.executor.killed) == 1
    assert any("said nothing for 0.05 s" in text for text in launch.view.said)


def test_a_trial_that_takes_too_long_ends_as_overtime_and_is_not_taken_up_again(
    storage: optuna.storages.BaseStorage,
) -> None:
    def hang(number: int, parameters: object) -> list[float] | None:
        return None if number == 1 else [0.5] * 5

    launch = Launch(
        storage,
        hang,
        budget={"trials": 4},
        pruner={"name": "none"},
        training={"max_seconds": 0.05},
    )
    assert launch.run() is Ending.FINISHED
    assert launch.outcomes()[1] is Outcome.OVERTIME
    assert launch.trials.rows[1].seconds >= 0.05
    assert launch.outcomes().count(Outcome.COMPLETE) == 3
    assert launch.tracker.ended[1].reason == "training.max_seconds allows 0.05 s."


def test_a_worker_that_waits_for_answers_takes_no_time(
    storage: optuna.storages.BaseStorage,
) -> None:
    training = {"max_seconds": 1.0}
    launch = Launch(storage, rising_curve, budget={"trials": 2}, training=training)
    answer = launch.trials.answer

    def suggest_slowly(number: int, question: Question) -> Scalar:
        until = time.monotonic() + (1.1 if (number, question.name) == (1, "rate") else 0.0)
        while time.monotonic() < until:
            pass
        return answer(number, question)

    launch.trials.answer = suggest_slowly  # type: ignore[method-assign]
    assert launch.run() is Ending.FINISHED
    assert launch.outcomes() == [Outcome.COMPLETE] * 2
    assert launch.executor.killed == []


@pytest.mark.parametrize("setting", ["training.max_seconds", "workers.max_silent_seconds"])
def test_a_worker_that_waits_for_room_takes_no_time(
    storage: optuna.storages.BaseStorage, setting: str
) -> None:
    section, name = setting.split(".")
    since: list[float] = []

    def wait_once(number: int, parameters: object) -> list[float] | DiskNews:
        if number == 1 and not since:
            since.append(time.monotonic())
            return DiskNews(text="No room is left.", waiting=True)
        return [0.5] * 5

    launch = Launch(
        storage,
        wait_once,
        budget={"trials": 3},
        pruner={"name": "none"},
        **{section: {name: 0.05}},
    )

    def make_room(status: StudyStatus) -> None:
        if since and time.monotonic() > since[0] + 0.2:
            ended = TrialEnded(outcome=Outcome.COMPLETE, value=0.5, best_epoch=0, epochs=1)
            (slot,) = (slot for slot, order in launch.executor.given.items() if order == 1)
            launch.executor.say(slot, DiskNews(text="There is room again.", waiting=False))
            launch.executor.say(slot, ended)
            since[0] = math.inf

    launch.view.show = make_room  # type: ignore[method-assign]
    assert launch.run() is Ending.FINISHED
    assert launch.outcomes() == [Outcome.COMPLETE] * 3
    assert launch.executor.killed == []


def test_a_worker_that_memory_killed_is_not_given_the_trial_again(
    storage: optuna.storages.BaseStorage,
) -> None:
    def starve(number: int, parameters: object) -> list[float] | WorkerDied:
        death = WorkerDied(reason="worker 0 was killed by SIGKILL", out_of_memory=True)
        return death if number == 2 else [0.5] * 5

    launch = Launch(storage, starve, budget={"trials": 4}, pruner={"name": "none"})
    launch.run()
    assert launch.outcomes()[2] is Outcome.OUT_OF_MEMORY
    assert [order.number for order in launch.executor.orders].count(2) == 1


def test_the_sampler_moves_away_from_candidates_that_do_not_fit(
    storage: optuna.storages.BaseStorage,
) -> None:
    def grow(number: int, parameters: Mapping[str, Scalar]) -> Sequence[float] | TrialEnded:
        if int(parameters["units"] or 0) > 32:  # of 4 to 128 by their logarithm: two fifths
            return TrialEnded(outcome=Outcome.OUT_OF_MEMORY, parameters=parameters)
        return rising_curve(number, parameters)

    launch = Launch(
        storage,
        grow,
        budget={"trials": 80, "max_consecutive_failures": 80},
        pruner={"name": "none"},
    )
    assert launch.run() is Ending.FINISHED
    failed = [outcome is Outcome.OUT_OF_MEMORY for outcome in launch.outcomes()]
    assert len(failed) == 80
    assert sum(failed[40:]) < sum(failed[:40]) / 2
    assert launch.trials.leaders[0].outcome is Outcome.COMPLETE
    best = optuna.load_study(study_name="scripted", storage=storage).best_trial
    assert best.params["units"] <= 32


def test_an_idle_worker_that_dies_is_waited_for_again(
    storage: optuna.storages.BaseStorage,
) -> None:
    launch = Launch(storage, rising_curve, budget={"trials": 6})
    launch.executor.die(1)
    assert launch.run() is Ending.FINISHED
    assert len(launch.tracker.ended) == 6


def test_however_many_idle_workers_die_with_their_machine_the_study_goes_on(
    storage: optuna.storages.BaseStorage,
) -> None:
    launch = Launch(storage, rising_curve, budget={"trials": 6}, workers={"max_restarts": 0})
    ready = list_space(launch.room)[1]
    for slot in ready:
        launch.executor.die(slot)
    launch.loop = StudyLoop(launch.room, launch.trials, launch.tracker, ready=set(), baseline=None)
    assert launch.run() is Ending.FINISHED
    for _ in range(3):
        launch.executor.die(1)
    (ended,) = launch.loop.ask(order_repeats(launch, 1), TrialEnded, "Again")
    assert ended.outcome is Outcome.COMPLETE


def test_workers_that_never_come_up_stop_the_study(storage: optuna.storages.BaseStorage) -> None:
    launch = Launch(storage, rising_curve, workers={"max_restarts": 2})
    for _ in range(3):
        launch.executor.die(0, ready=False)
    launch.executor.forget_ready()
    with pytest.raises(StudyStopped, match=r"3 that died in a row before they had.* killed\. Mend"):
        launch.run()


def test_workers_that_die_of_the_default_candidate_stop_the_study(
    storage: optuna.storages.BaseStorage,
) -> None:
    launch = Launch(storage, rising_curve, workers={"max_restarts": 1})

    class Fatal(ScriptedExecutor):
        def send(self, slot: int, message: ToWorker) -> None:
            self.die(slot)

    room = replace(launch.room, executor=Fatal())
    room.executor.start(None)  # type: ignore[arg-type]
    with pytest.raises(
        StudyStopped, match="2 workers that died of it, the last one because killed"
    ):
        list_space(room)


def test_an_impossible_candidate_is_not_charged_to_the_budget(
    storage: optuna.storages.BaseStorage,
) -> None:
    def refuse(number: int, parameters: object) -> list[float] | TrialEnded:
        if number in (1, 3):
            return TrialEnded(outcome=Outcome.INVALID, reason="no room for a kernel")
        return [0.5] * 5

    launch = Launch(storage, refuse, budget={"trials": 5}, pruner={"name": "none"})
    launch.run()
    assert launch.outcomes().count(Outcome.COMPLETE) == 5
    assert launch.outcomes().count(Outcome.INVALID) == 2


def test_too_many_failures_in_a_row_stop_the_study_and_name_the_last(
    storage: optuna.storages.BaseStorage,
) -> None:
    def diverge(number: int, parameters: object) -> TrialEnded:
        return TrialEnded(outcome=Outcome.DIVERGED, reason="The loss must stay finite.")

    launch = Launch(storage, diverge, budget={"trials": 50, "max_consecutive_failures": 4})
    with pytest.raises(StudyStopped, match=r"4 trials failed in a row.*The loss must stay finite"):
        launch.run()
    assert len(launch.trials.rows) <= 5


def test_giving_up_is_final_even_while_another_trial_runs(
    storage: optuna.storages.BaseStorage,
) -> None:
    def mostly_fail(number: int, parameters: object) -> list[float] | TrialEnded:
        if number == 0:
            return [0.5] * 50
        return TrialEnded(outcome=Outcome.DIVERGED, reason="The loss must stay finite.")

    launch = Launch(storage, mostly_fail, budget={"trials": 50, "max_consecutive_failures": 3})
    with pytest.raises(StudyStopped, match="3 trials failed in a row"):
        launch.run()
    assert launch.trials.rows[0].outcome is Outcome.INTERRUPTED
    assert len(launch.trials.rows) == 4


def test_a_bug_in_a_worker_stops_the_study_with_its_traceback(
    storage: optuna.storages.BaseStorage,
) -> None:
    def fail(number: int, parameters: object) -> list[float] | WorkerFailed:
        return WorkerFailed(traceback="Traceback: KeyError: 'x'") if number == 1 else [0.5] * 5

    launch = Launch(storage, fail, budget={"trials": 5})
    with pytest.raises(WorkerBug, match="KeyError: 'x'"):
        launch.run()


def test_a_candidate_that_always_raises_is_given_up_after_some_launches(
    storage: optuna.storages.BaseStorage,
) -> None:
    def fail(number: int, parameters: object) -> list[float] | WorkerFailed:
        return WorkerFailed(traceback="ZeroDivisionError") if number == 1 else [0.5] * 5

    settings: Settings = {"budget": {"trials": 5}, "workers": {"max_restarts": 1}}
    for _ in range(2):
        with pytest.raises(WorkerBug, match="ZeroDivisionError"):
            Launch(storage, fail, **settings).run()
    launch = Launch(storage, fail, **settings)
    assert launch.run() is Ending.FINISHED
    assert launch.outcomes()[1] is Outcome.FAILED
    assert launch.outcomes().count(Outcome.COMPLETE) == 4


def test_a_mistake_found_by_a_worker_is_told_without_a_traceback(
    storage: optuna.storages.BaseStorage,
) -> None:
    def mistake(number: int, parameters: object) -> WorkerFailed:
        return WorkerFailed(traceback="Traceback", mistake="hp.Int('x') must have a range.")

    launch = Launch(storage, mistake, budget={"trials": 5})
    with pytest.raises(ConfigError, match=r"^hp\.Int"):
        launch.run()


def test_a_space_that_cannot_be_built_is_refused_before_the_first_trial(
    storage: optuna.storages.BaseStorage,
) -> None:
    launch = Launch(storage, rising_curve)
    launch.executor.listed = SpaceListed(listing=(), error="space must build its default candidate")
    with pytest.raises(ConfigError, match="space must build"):
        list_space(launch.room)
    assert not launch.trials.rows


def test_the_time_budget_leaves_open_trials_for_the_next_launch(
    storage: optuna.storages.BaseStorage,
) -> None:
    launch = Launch(storage, rising_curve, budget={"trials": 50, "max_seconds": 1e-9})
    assert launch.run() is Ending.OUT_OF_TIME
    assert not launch.trials.rows

    again = Launch(storage, rising_curve, budget={"trials": 5}, pruner={"name": "none"})
    assert again.run() is Ending.FINISHED
    assert len({tuple(row.parameters.values()) for row in again.trials.rows.values()}) == 5


def test_what_a_worker_says_beside_the_listing_is_heard(
    storage: optuna.storages.BaseStorage,
) -> None:
    launch = Launch(storage, rising_curve)
    launch.executor.delay_ready(1)
    listed, ready = list_space(launch.room)
    assert listed.listing == LISTING
    assert sorted(ready) == [0, 1]


@pytest.mark.parametrize(
    ("workers", "told"),
    [
        ({}, "No worker has come up in 0 s. Waiting for one."),
        (
            {"executor": "ray"},
            "No worker has come up in 0 s. Waiting for one: Ray places it on a machine that has room for "
            "cluster.cpus=1, cluster.gpus=0. `ray status` says what is free.",
        ),
    ],
)
def test_who_waits_for_a_first_worker_is_told_of_what(
    storage: optuna.storages.BaseStorage,
    monkeypatch: pytest.MonkeyPatch,
    workers: Settings,
    told: str,
) -> None:
    monkeypatch.setattr("search.driver.requests.LATE_SECONDS", 0)
    launch = Launch(storage, rising_curve, workers=workers)
    come, quiet = launch.executor.receive, [1, 2]

    def receive(max_seconds: float) -> Sequence[Arrival]:
        return [] if quiet and quiet.pop() else come(max_seconds)

    monkeypatch.setattr(launch.executor, "receive", receive)
    list_space(launch.room)
    assert launch.view.said == [told]


def test_reports_are_looked_for_between_two_answers(
    storage: optuna.storages.BaseStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("search.driver.loop.TURN_SECONDS", 0)
    launch = Launch(storage, rising_curve, budget={"trials": 6})
    answer, receive = launch.trials.answer, launch.executor.receive
    done: list[str] = []

    def note_answer(number: int, question: Question) -> Scalar:
        done.append("answer")
        return answer(number, question)

    def note_receive(max_seconds: float) -> Sequence[Arrival]:
        done.append("receive")
        return receive(max_seconds)

    monkeypatch.setattr(launch.trials, "answer", note_answer)
    monkeypatch.setattr(launch.executor, "receive", note_receive)
    assert launch.run() is Ending.FINISHED
    assert done.count("answer") == 3 * 6
    assert all(done[place - 1] == "receive" for place, what in enumerate(done) if what == "answer")


def test_a_test_score_belongs_to_the_trial_that_it_was_taken_for(
    storage: optuna.storages.BaseStorage,
) -> None:
    launch = Launch(storage, rising_curve, budget={"trials": 5}, winner={"repeats": 0})
    launch.run()
    best = launch.trials.leaders[0].number
    looked = {"members": [{"number": best}], "scores": {"accuracy": 0.5}}
    launch.trials.note("test", looked)
    assert launch.trials.look["scores"] == {"accuracy": 0.5}
    launch.trials.note("test", {**looked, "members": [{"number": best + 1}]})
    assert launch.trials.look == {}


def test_a_worker_that_dies_in_the_refit_is_followed_by_another(
    storage: optuna.storages.BaseStorage,
) -> None:
    launch = Launch(storage, rising_curve, budget={"trials": 3})
    launch.run()
    launch.executor.die_in_refit = True
    row = launch.trials.leaders[0]
    (member,) = launch.loop.refit([row], {str(row.number): 3}, look=1)
    assert (member.number, member.weights, member.epochs) == (row.number, "refit.npz", 3)


def order_repeats(launch: Launch, count: int) -> list[RepeatTrial]:
    row = launch.trials.leaders[0]
    return [
        RepeatTrial(number=row.number, parameters=row.parameters, seed=seed, data=Path("data"))
        for seed in range(count)
    ]


def test_trials_are_repeated_on_all_workers_and_every_epoch_is_heard(
    storage: optuna.storages.BaseStorage,
) -> None:
    launch = Launch(storage, rising_curve, budget={"trials": 3})
    launch.run()
    heard: list[tuple[int, type]] = []
    orders = order_repeats(launch, 5)
    ended = launch.loop.ask(
        orders, TrialEnded, "Again", lambda n, said: heard.append((n, type(said)))
    )
    assert [one.outcome for one in ended] == [Outcome.COMPLETE] * 5
    # The person who waits sees how far it is.
    assert launch.view.steps[0] == "Again: 0/5"
    assert launch.view.steps[-1] == "Again: 5/5"
    assert ended[0].value == launch.trials.leaders[0].value
    for number in range(5):
        told = [kind for place, kind in heard if place == number]
        assert told == [EpochReport] * 5 + [TrialEnded]


def test_a_repeat_whose_worker_dies_begins_again_and_a_worker_that_grew_is_replaced(
    storage: optuna.storages.BaseStorage,
) -> None:
    launch = Launch(storage, rising_curve, budget={"trials": 3}, workers={"recycle_mb": 800})
    launch.run()
    ends: deque[TrialEnded | WorkerDied] = deque(
        [WorkerDied(reason="killed"), TrialEnded(outcome=Outcome.COMPLETE, memory_mb=900)]
    )
    launch.executor.curve = lambda number, parameters: ends.popleft() if ends else [0.5]
    ended = launch.loop.ask(order_repeats(launch, 3), TrialEnded, "Again")
    assert [one.outcome for one in ended] == [Outcome.COMPLETE] * 3
    assert not ends
    assert len(launch.executor.replaced) == 1


def test_a_worker_that_hangs_in_a_repeat_is_ended(storage: optuna.storages.BaseStorage) -> None:
    launch = Launch(
        storage, rising_curve, budget={"trials": 3}, workers={"max_silent_seconds": 0.05}
    )
    launch.run()
    silences: deque[None] = deque([None])

    def hang_once(number: int, parameters: object) -> list[float] | None:
        return silences.popleft() if silences else [0.5]

    launch.executor.curve = hang_once
    ended = launch.loop.ask(order_repeats(launch, 2), TrialEnded, "Again")
    assert [one.value for one in ended] == [0.5, 0.5]
    assert len(launch.executor.killed) == 1


def test_a_worker_that_always_hangs_is_told_by_the_setting(
    storage: optuna.storages.BaseStorage,
) -> None:
    launch = Launch(
        storage, rising_curve, budget={"trials": 3}, workers={"max_silent_seconds": 0.05}
    )
    launch.run()
    launch.executor.curve = lambda number, parameters: None
    with pytest.raises(ConfigError, match=r"max_silent_seconds must leave time.*0\.05 s.*3 times"):
        launch.loop.ask(order_repeats(launch, 1), TrialEnded, "Again")


def test_a_repeat_that_memory_runs_out_in_fails_as_a_trial_would(
    storage: optuna.storages.BaseStorage,
) -> None:
    launch = Launch(storage, rising_curve, budget={"trials": 3})
    launch.run()
    death = WorkerDied(reason="worker 0 was killed by SIGKILL", out_of_memory=True)
    ends = deque([death])
    launch.executor.curve = lambda number, parameters: ends.popleft() if ends else [0.5]
    first, second = launch.loop.ask(order_repeats(launch, 2), TrialEnded, "Again")
    assert sorted([first.outcome, second.outcome]) == [Outcome.COMPLETE, Outcome.OUT_OF_MEMORY]
    failed = first if first.value is None else second
    assert failed.reason.endswith("its end: worker 0 was killed by SIGKILL.")


def test_a_worker_that_memory_is_short_for_while_it_waits_is_followed_by_another(
    storage: optuna.storages.BaseStorage,
) -> None:
    launch = Launch(storage, rising_curve, budget={"trials": 3})
    launch.run()
    launch.executor.out_of_memory = True
    launch.executor.die(1)
    (ended,) = launch.loop.ask(order_repeats(launch, 1), TrialEnded, "Again")
    assert ended.outcome is Outcome.COMPLETE


def test_a_repeat_whose_workers_all_die_fails(storage: optuna.storages.BaseStorage) -> None:
    launch = Launch(storage, rising_curve, budget={"trials": 3})
    launch.run()
    deaths = []

    def die(number: int, parameters: object) -> WorkerDied:
        deaths.append(number)
        return WorkerDied(reason="worker 0 was killed by SIGSEGV")

    launch.executor.curve = die
    (ended,) = launch.loop.ask(order_repeats(launch, 1), TrialEnded, "Again")
    assert ended.outcome is Outcome.FAILED
    assert len(deaths) == 1 + launch.config.workers.max_restarts


def test_workers_that_die_of_scoring_stop_the_study_and_say_why(
    storage: optuna.storages.BaseStorage,
) -> None:
    launch = Launch(storage, rising_curve, budget={"trials": 3})
    launch.run()

    class Fatal(ScriptedExecutor):
        def send(self, slot: int, message: ToWorker) -> None:
            self.die(slot)

    room = replace(launch.room, executor=Fatal())
    room.executor.start(None)  # type: ignore[arg-type]
    with pytest.raises(StudyStopped, match=r"3 workers that died of it, .* because killed\. Mend"):
        ask_workers(room, set(), [ScoreMembers(members=())], TrialScored, "Scoring")


def test_a_driver_whose_database_is_away_tells_mlflow_what_ran(
    storage: optuna.storages.BaseStorage,
) -> None:
    launch = Launch(storage, rising_curve, budget={"trials": 5})

    def lose(*_: object, **__: object) -> None:
        raise ServiceAway("The study's database was away.")

    def go(status: StudyStatus) -> None:
        if len(launch.tracker.begun) >= 2:
            launch.trials.end = launch.trials.report_all = lose  # type: ignore[method-assign, assignment]

    launch.view.show = go  # type: ignore[method-assign]
    with pytest.raises(ServiceAway):
        launch.run()
    running = set(launch.tracker.begun) - {
        number for number, row in launch.trials.rows.items() if row.outcome is not None
    }
    assert running
    told = {launch.tracker.ended[number].outcome for number in running}
    assert told == {Outcome.INTERRUPTED}


def test_a_refit_that_memory_runs_out_in_leaves_the_searched_weights(
    storage: optuna.storages.BaseStorage,
) -> None:
    launch = Launch(storage, rising_curve, budget={"trials": 3})
    launch.run()
    launch.executor.die_in_refit = True
    launch.executor.out_of_memory = True
    row = replace(launch.trials.leaders[0], weights="searched.npz")
    (member,) = launch.loop.refit([row], {str(row.number): 3}, look=1)
    assert member.weights == "searched.npz"
    assert "The searched weights are kept: The worker did not live" in launch.view.said[-1]


def test_a_trial_that_is_reopened_keeps_what_it_reported(
    storage: optuna.storages.BaseStorage,
) -> None:
    launch = Launch(storage, lambda number, parameters: None, budget={"trials": 3})
    launch.trials.ask()
    for epoch, best in enumerate([0.3, 0.6]):
        report = EpochReport(epoch=epoch, metrics={}, objective=0.3, best=best, seconds=1.0)
        launch.trials.report(0, report)

    again = Launch(storage, rising_curve, budget={"trials": 3})
    assert again.trials.reopen() == [0]
    row = again.trials.rows[0]
    assert (row.outcome, row.value, row.epochs) == (None, 0.6, 2)
    first = EpochReport(epoch=0, metrics={}, objective=0.3, best=0.3, seconds=1.0)
    again.trials.report(0, first)
    assert again.trials.rows[0].epochs == 2


def test_ctrl_c_ends_repeats(storage: optuna.storages.BaseStorage) -> None:
    launch = Launch(storage, rising_curve, budget={"trials": 3})
    launch.run()

    def stop(number: int, message: object) -> None:
        launch.interrupt.requested = True

    with pytest.raises(KeyboardInterrupt):
        launch.loop.ask(order_repeats(launch, 4), TrialEnded, "Again", stop)


def test_the_best_so_far_is_recorded_where_it_changes(
    storage: optuna.storages.BaseStorage,
) -> None:
    values = [0.3, 0.2, 0.5, 0.5, 0.4, 0.6]
    launch = Launch(
        storage,
        lambda number, parameters: [values[number]],
        budget={"trials": 6},
        pruner={"name": "none"},
    )
    launch.executor.slots = 1
    launch.run()
    best = [point["best_objective"] for point in launch.tracker.points]
    assert best == [0.3, 0.5, 0.6]
    assert launch.tracker.description.startswith("| trial | accuracy |")
    assert "| 1 | 0.2000 |" in launch.tracker.description


def test_the_time_left_counts_what_comes_after_the_search(
    storage: optuna.storages.BaseStorage,
) -> None:
    launch = Launch(
        storage,
        rising_curve,
        budget={"trials": 6},
        pruner={"name": "none"},
        winner={"candidates": 2, "repeats": 3},
    )
    assert launch.loop.status().seconds_left is None
    launch.run()
    again = [predict_again(row, 5) for row in launch.trials.finalists]
    expected = (3 * sum(again) + again[0]) / 2
    assert launch.loop.status().seconds_left == pytest.approx(expected)
    assert expected > 0


def test_orders_tell_how_long_things_take_once_trials_have_shown_it(
    storage: optuna.storages.BaseStorage,
) -> None:
    launch = Launch(storage, rising_curve, budget={"trials": 12}, pruner={"name": "none"})
    launch.run()
    rates = [order.rates for order in launch.executor.orders]
    assert rates[:LEAST] == [None] * LEAST
    assert rates[-1] is not None


def test_the_finalists_are_the_best_distinct_trials_and_the_defaults(
    storage: optuna.storages.BaseStorage,
) -> None:
    def worst_first(number: int, parameters: object) -> list[float]:
        return [0.1 if number == 0 else number / 10] * 5

    launch = Launch(
        storage, worst_first, budget={"trials": 6}, winner={"candidates": 2, "repeats": 1}
    )
    launch.run()
    trials = launch.trials
    assert [row.number for row in trials.finalists] == [5, 4, 0]
    trials._update(4, parameters=trials.rows[5].parameters)
    assert [row.number for row in trials.finalists] == [5, 3, 0]
    trials._update(2, parameters=trials.rows[0].parameters, value=0.9)
    # Of equals, trial 0 is the one to compare with.
    assert [row.number for row in trials.finalists] == [5, 3, 0]
    trials._update(0, outcome=Outcome.DIVERGED)
    assert [row.number for row in trials.finalists] == [2, 5]


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_the_finalists_are_found_without_a_look_at_every_trial(drawn: st.DataObject) -> None:
    store = optuna.storages.InMemoryStorage()
    count = drawn.draw(st.integers(1, 9))
    few = {"candidates": drawn.draw(st.integers(1, 3)), "repeats": 1}
    wanted = {"budget": {"trials": count}, "winner": few, "pruner": {"name": "none"}}
    refit = drawn.draw(st.booleans())
    launch = Launch(store, rising_curve, **wanted, training={"refit": refit})
    launch.run()
    trials = launch.trials
    for number in range(count):
        outcome = drawn.draw(st.sampled_from([Outcome.COMPLETE, Outcome.COMPLETE, Outcome.PRUNED]))
        value, kind = drawn.draw(st.integers(0, 3)), drawn.draw(st.integers(0, 2))
        weights = drawn.draw(st.sampled_from(["", "kept.npz"]))
        changes = {"value": float(value), "parameters": {"kind": kind}, "weights": weights}
        trials._update(number, outcome=outcome, **changes)
    winner = drawn.draw(st.integers(-1, count - 1))
    trials.notes["winner"] = {"trial": winner} if winner >= 0 else {}
    assert trials.leaders == rank(trials.rows.values(), "maximize")
    first = sorted(trials.leaders, key=lambda row: row.number != 0)
    distinct = [
        row
        for row in trials.leaders
        if row is next(one for one in first if one.parameters == row.parameters)
        and (refit or row.weights)
    ]
    chosen = distinct[: few["candidates"]]
    held = [row for row in distinct if row.number in (0, winner) and row not in chosen]
    assert trials.finalists == chosen + held


def test_without_a_refit_only_trials_whose_weights_are_kept_are_finalists(
    storage: optuna.storages.BaseStorage,
) -> None:
    launch = Launch(
        storage,
        rising_curve,
        budget={"trials": 4},
        pruner={"name": "none"},
        training={"refit": False},
    )
    launch.run()
    trials = launch.trials
    assert trials.finalists == []
    trials._update(2, weights="trial_00002.npz")
    assert [row.number for row in trials.finalists] == [2]


def test_a_winner_holds_until_other_trials_are_the_best(
    storage: optuna.storages.BaseStorage,
) -> None:
    launch = Launch(
        storage,
        rising_curve,
        budget={"trials": 4},
        winner={"repeats": 2},
        pruner={"name": "none"},
    )
    launch.run()
    trials = launch.trials
    assert trials.winner is None
    numbers = [row.number for row in trials.finalists]
    decided = {
        "trial": numbers[1],
        "asked": 1,
        "members": [numbers[1]],
        "finalists": numbers,
        "repeats": 2,
    }
    trials.note("winner", decided)
    assert trials.winner == trials.rows[numbers[1]]
    assert trials.members == [trials.rows[numbers[1]]]
    for other in ({"finalists": numbers[:-1]}, {"repeats": 3}, {"asked": 2}):
        trials.note("winner", decided | other)
        assert trials.winner is None


def test_a_worker_is_replaced_after_its_share_of_trials(
    storage: optuna.storages.BaseStorage,
) -> None:
    launch = Launch(storage, rising_curve, budget={"trials": 12}, workers={"trials_each": 3})
    launch.run()
    assert len(launch.executor.replaced) == 4
    # Each had its successor ready, but for those after which no trial was left to begin.
    assert len(launch.executor.prepared) == 3
    assert Counter(launch.executor.prepared) <= Counter(launch.executor.replaced)


def test_a_worker_that_is_nearly_too_large_has_its_successor_ready(
    storage: optuna.storages.BaseStorage,
) -> None:
    sizes = {0: 100.0, 1: 100.0, 2: 700.0, 3: 100.0}

    def grow(number: int, parameters: object) -> TrialEnded:
        size = sizes.get(number, 100.0)
        return TrialEnded(outcome=Outcome.COMPLETE, value=0.5, best_epoch=0, memory_mb=size)

    launch = Launch(storage, grow, budget={"trials": 8}, workers={"recycle_mb": 800})
    launch.run()
    assert len(launch.executor.prepared) == 1
    assert launch.executor.replaced == []


@pytest.mark.parametrize(
    "ended",
    [
        TrialEnded(outcome=Outcome.COMPLETE, value=0.5, best_epoch=0, memory_mb=900),
        TrialEnded(outcome=Outcome.OUT_OF_MEMORY, memory_mb=100),
    ],
)
def test_a_worker_that_grew_or_ran_out_of_memory_is_replaced(
    storage: optuna.storages.BaseStorage, ended: TrialEnded
) -> None:
    def grow(number: int, parameters: object) -> list[float] | TrialEnded:
        return ended if number == 1 else [0.5] * 5

    launch = Launch(storage, grow, budget={"trials": 4}, workers={"recycle_mb": 800})
    launch.run()
    assert len(launch.executor.replaced) == 1


def test_only_the_weights_of_the_best_are_kept(
    storage: optuna.storages.BaseStorage, tmp_path: Path
) -> None:
    def write(number: int, parameters: object) -> TrialEnded:
        path = tmp_path / f"{number}.weights.h5"
        path.write_bytes(b"weights")
        return TrialEnded(
            outcome=Outcome.COMPLETE, value=number / 10, best_epoch=0, weights=str(path)
        )

    launch = Launch(
        storage,
        write,
        budget={"trials": 6},
        storage={"kept_models": 2},
        winner={"candidates": 1},
    )
    launch.run()
    # The defaults too: they may win when the best are trained again.
    kept = ["0.weights.h5", "4.weights.h5", "5.weights.h5"]
    assert sorted(path.name for path in tmp_path.iterdir()) == kept


@pytest.mark.slow
@pytest.mark.timeout(60)
def test_200_scripted_trials_run_on_the_real_store(tmp_path: Path) -> None:
    store = MirroredStorage(open_storage(tmp_path), place=tmp_path, say=print)
    launch = Launch(store, rising_curve, budget={"trials": 200})
    assert launch.run() is Ending.FINISHED
    assert len(launch.tracker.ended) == 200


def test_a_trial_whose_end_was_noted_and_not_told_is_told_at_the_next_launch(
    storage: optuna.storages.BaseStorage,
) -> None:
    first = Launch(storage, rising_curve).trials
    number = first.ask()
    first.ask()
    starved = TrialEnded(outcome=Outcome.OUT_OF_MEMORY, epochs=0, reason="no room")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trials, "_tell", lambda self, trial, row: None)  # the driver is killed here
        first.end(number, starved)
    again = Launch(storage, rising_curve).trials
    assert not again.unfinished or again.rows[number].outcome is Outcome.OUT_OF_MEMORY
    frozen = optuna.load_study(study_name="scripted", storage=storage).trials[number]
    assert frozen.state.name == "PRUNED"
    assert frozen.constraints == {"usable": 1.0}
    assert again.reopen() == [number + 1]


def test_a_trial_that_takes_the_driver_down_each_time_is_given_up(
    storage: optuna.storages.BaseStorage,
) -> None:
    settings: Settings = {"budget": {"trials": 2}, "workers": {"max_restarts": 1}}
    number = Launch(storage, rising_curve, **settings).trials.ask()
    for times in (1, 2):  # in as many launches, none of which lives to hear of an epoch
        trials = Launch(storage, rising_curve, **settings).trials
        trials.reopen()
        assert trials.begin_again(number) == times
    launch = Launch(storage, rising_curve, **settings)
    assert launch.run() is Ending.FINISHED
    assert launch.outcomes()[number] is Outcome.FAILED
    assert "begun 2 times" in launch.trials.rows[number].reason
    assert launch.tracker.ended[number].outcome is Outcome.FAILED


def test_a_new_epoch_and_a_person_who_stops_forgive_what_was_begun_before(
    storage: optuna.storages.BaseStorage,
) -> None:
    trials = Launch(storage, rising_curve).trials
    number = trials.ask()
    assert [trials.begin_again(number) for _ in range(2)] == [1, 2]
    report = EpochReport(epoch=0, metrics={}, objective=0.5, best=0.5, seconds=0.01)
    trials.report(number, report)
    assert trials.begin_again(number) == 1
    trials.end(number, TrialEnded(outcome=Outcome.INTERRUPTED, epochs=1))
    again = Launch(storage, rising_curve).trials
    again.reopen()
    assert again.begin_again(number) == 1


def test_a_second_attempt_that_ends_earlier_takes_no_epoch_away(
    storage: optuna.storages.BaseStorage,
) -> None:
    def refuse_one(number: int, parameters: object) -> Sequence[float] | TrialEnded:
        if number != 1:
            return [0.5] * 5
        return TrialEnded(outcome=Outcome.INVALID, reason="the space was edited")

    launch = Launch(storage, refuse_one, budget={"trials": 3}, pruner={"name": "none"})
    trials = launch.trials
    trials.ask()
    number = trials.ask()
    for epoch in range(3):
        trials.report(
            number, EpochReport(epoch=epoch, metrics={}, objective=0.5, best=0.5, seconds=0.01)
        )
    again = Launch(storage, refuse_one, budget={"trials": 3}, pruner={"name": "none"})
    again.run()
    assert again.outcomes()[number] is Outcome.INVALID
    assert again.trials.rows[number].epochs == 3
    assert again.tracker.ended[number].epochs == 3


def test_a_study_that_was_only_named_is_begun_as_it_is_launched_now(
    storage: optuna.storages.BaseStorage,
) -> None:
    config = make_config({"name": "scripted", "objective": {"metric": "accuracy"}})
    Trials(storage=storage, config=config, direction="minimize")  # and the driver is killed
    launch = Launch(storage, rising_curve, budget={"trials": 3})
    launch.run()
    study = optuna.load_study(study_name="scripted", storage=storage)
    assert study.direction.name == "MAXIMIZE"
    launch.trials.note("config", {})
    Trials(storage=storage, config=config, direction="minimize")  # what was begun stays
    assert optuna.load_study(study_name="scripted", storage=storage).direction.name == "MAXIMIZE"
