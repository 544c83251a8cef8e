"""The trials of one study: what Optuna holds of them, and what is decided about them."""

import math
from bisect import bisect_left, insort
from collections import Counter, defaultdict, deque
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

import optuna
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from search.config import StudyConfig
from search.driver.costs import learn_rates, typical_epoch
from search.driver.leaderboard import TrialRow, is_ranked, rank, rank_key
from search.driver.mirror import MirroredStorage
from search.driver.objectives import (
    LeadingStudy,
    is_to_be_pruned,
    list_front,
    list_values,
    open_study,
    report,
)
from search.driver.optimization import (
    FIXED,
    ask_trial,
    check_defaults,
    check_queue,
    continue_trial,
    enqueue_next,
    suggest,
    trial_seed,
)
from search.driver.plateaus import REPEATS, find_plateau
from search.driver.promotion import (
    CONTINUES,
    REASON,
    Promotion,
    find_promotion,
    hand_over,
    list_checkpoint,
    remove_checkpoint,
)
from search.driver.pruners import is_immune, make_pruner, prune_reason
from search.driver.samplers import SharedSpace, check_grid, list_queue
from search.messages import (
    CandidateBuilt,
    Cost,
    EpochReport,
    Listed,
    Outcome,
    Question,
    Scalar,
    TrialEnded,
    Verdict,
)
from search.tasks import Direction

STATES: Mapping[Outcome, TrialState] = {
    Outcome.COMPLETE: TrialState.COMPLETE,
    Outcome.PRUNED: TrialState.PRUNED,
    Outcome.DIVERGED: TrialState.PRUNED,
    Outcome.OUT_OF_MEMORY: TrialState.PRUNED,
    Outcome.OVERSIZED: TrialState.PRUNED,
    Outcome.INVALID: TrialState.PRUNED,
    Outcome.OVERTIME: TrialState.PRUNED,
    Outcome.FAILED: TrialState.FAIL,
}
"""``INTERRUPTED`` is missing: such a trial stays RUNNING and is continued."""
UNUSABLE = frozenset(STATES) - {Outcome.COMPLETE, Outcome.PRUNED, Outcome.FAILED}
"""Candidates that are no use whatever they score. Optuna's samplers learn nothing from a trial that
failed; from a pruned one that broke a constraint they learn where not to look."""
DEFAULTS = 0
"""The trial that has the default hyperparameters. What the search gained is measured against its
value, so no pruner ends it."""
WARM = "warm_start"
"""The study's note of what earlier studies found to be good."""
LATENCY = "limits.latency_ms"
"""The constraint that a candidate's latency has to keep: by what part it is over its limit."""
RECENT = 100
"""Ended trials that others' costs are predicted from: so many that it takes no longer as a study grows."""
BEGUN = "begun"
"""The trial attribute that holds after how many epochs it was begun last, and how often."""
COUNT = "parameter_count"
"""The trial attribute that holds the weights of its candidate."""
RECORD = "record"
"""The trial attribute that holds everything Optuna has no field for, written twice a trial."""


def weights_folder(config: StudyConfig) -> Path:
    """Name the folder that a study's checkpoints and weights are kept in."""
    return config.storage.folder.resolve() / "checkpoints" / config.name


class Trials:
    """A study's trials: the only place that asks, reports and tells.

    Attributes:
        rows: Every trial by its number.
        direction: "maximize" or "minimize".
        config: The study.
        notes: What is noted of the study itself.
        recent: The trials that ended last.
        rates: How long things take here, as they have shown; ``None`` while too little is known.
    """

    def __init__(self, *, storage: BaseStorage, config: StudyConfig, direction: Direction) -> None:
        self.direction = direction
        self.config = config
        self._study = _open_study(storage, config, direction)
        self._together = storage.together if isinstance(storage, MirroredStorage) else nullcontext
        self._open: dict[int, optuna.Trial] = {}
        self._counted = -1, 0
        self._space = SharedSpace()
        trials = self._study.get_trials(deepcopy=False)
        self.rows = {t.number: read_row(t) for t in trials if t.state is not TrialState.WAITING}
        self._reported = {t.number: _count_epochs(t) for t in trials}
        self._seconds: defaultdict[int, list[float]] = defaultdict(list)
        ended = [row for row in self.rows.values() if row.outcome in STATES]
        self.recent = deque(ended, maxlen=RECENT)
        self.rates = learn_rates(self.recent)
        self._ranked = rank(self.rows.values(), direction)
        self._epochs = sum(row.own_epochs for row in self.rows.values())
        self._continuing = sum(row.continues is not None for row in self.rows.values())
        self._free = {n for n, row in self.rows.items() if row.outcome is Outcome.INVALID}
        self.notes: dict[str, Any] = dict(self._study.user_attrs)
        first = trials[DEFAULTS].system_attrs.get(FIXED, {}) if trials else {}
        self._fill_queue(first, self.notes.get(WARM, {}).get("candidates", []))
        self._held = self._find_held()
        self._roll_forward()

    def note(self, name: str, value: Any) -> None:
        """Note something of the study itself; ``value`` is JSON."""
        self._study.set_user_attr(name, value)
        self.notes[name] = value

    @property
    def charged(self) -> int:
        """The trials that the budget pays for: a candidate that cannot be built is free."""
        return len(self.rows) - len(self._free) - self._continuing

    @property
    def budget(self) -> int:
        """The trials that the study is to have at most: a grid ends, when every combination was tried."""
        most = self.config.budget.trials
        return min(most, self.charged + self._untried) if self.config.sampler.grid else most

    @property
    def _untried(self) -> int:
        """How many of the queue no trial was given yet."""
        if self._counted[0] != len(self.rows):
            trials = self._study.get_trials(deepcopy=False)
            begun = [one for one in trials if one.state is not TrialState.WAITING]
            had = Counter(_freeze(one.system_attrs.get(FIXED, {})) for one in begun)
            left = Counter(_freeze(one) for one in self._queue) - had
            self._counted = len(self.rows), left.total()
        return self._counted[1]

    def _fill_queue(
        self, defaults: Mapping[str, Scalar], known: Sequence[Mapping[str, Scalar]]
    ) -> None:
        """Work out what is tried before anything is suggested."""
        self._queue = list_queue(self.config.sampler, defaults, known, self._repeats)
        self._counted = -1, 0

    @property
    def _repeats(self) -> int:
        return REPEATS if self.config.budget.plateau else 0

    @property
    def spent(self) -> str:
        """What of the budget is spent, so that no further trial is begun; empty if nothing is."""
        limit = self.config.budget.max_epochs
        if limit is not None and self._epochs >= limit:
            return f"budget.max_epochs ({limit})"
        if self.charged >= self.budget:
            grid = self.budget < self.config.budget.trials
            return (
                f"sampler.grid ({self.budget} trials)" if grid else f"budget.trials ({self.budget})"
            )
        return self._find_plateau()

    def _find_plateau(self) -> str:
        """Say that the study does not become better any more, or nothing."""
        limit = self.config.budget.plateau
        if limit is None or len(self.rows) <= self._repeats:
            return ""
        plateau = find_plateau(list(self.rows.values()), self.direction, limit)
        if plateau is None or not plateau.reached:
            return ""
        return (
            f"budget.plateau ({limit}: none of the last {plateau.length} trials was better than trial "
            f"{plateau.best} by more than {plateau.noise:.2g}, what a seed does)"
        )

    @property
    def unbegun(self) -> int:
        """How many trials are likely to be begun yet."""
        if self.spent:
            return 0
        left, limit = self.budget - self.charged, self.config.budget.max_epochs
        if limit is None or not self.recent:
            return left
        each = fmean(row.own_epochs for row in self.recent)
        return min(left, math.ceil((limit - self._epochs) / max(each, 1.0)))

    @property
    def unfinished(self) -> bool:
        """Whether a trial runs, or waits to be continued."""
        return any(row.outcome in (None, Outcome.INTERRUPTED) for row in self.rows.values())

    @property
    def look(self) -> dict[str, Any]:
        """What the one look at the test targets found for the winner; empty before it."""
        found: dict[str, Any] = self.notes.get("test", {})
        looked_at = [member["number"] for member in found.get("members", [])]
        return found if looked_at and looked_at == [row.number for row in self.members] else {}

    @property
    def finalists(self) -> list[TrialRow]:
        """The trials that are trained again at the end: the best distinct ones and trial 0.

        With them whoever won before: a larger budget's luckier trials have to beat it.
        """
        default = self.rows.get(DEFAULTS)
        first = _freeze(default.parameters) if default and is_ranked(default) else None
        decided = self.notes.get("winner", {}).get("trial")
        awaited, wanted = {decided} & self.rows.keys(), self.config.winner.candidates
        seen, chosen, held = (
            set[frozenset[tuple[str, Scalar]]](),
            list[TrialRow](),
            list[TrialRow](),
        )
        for row in self._ranked:
            if len(chosen) == wanted and not awaited:
                break
            awaited.discard(row.number)
            name = _freeze(row.parameters)
            # Of equals the best one stands for all, or trial 0, as what the others are compared with.
            if name in seen or (name == first and row.number != DEFAULTS):
                continue
            seen.add(name)
            if self._can_win(row) and len(chosen) < wanted:
                chosen.append(row)
            elif self._can_win(row) and row.number == decided:
                held.append(row)
        if default and first and self._can_win(default) and default.number != decided:
            held += [default] if default.number not in {row.number for row in chosen} else []
        return chosen + rank(held, self.direction)

    def _can_win(self, row: TrialRow) -> bool:
        """Tell whether a trial can be exported: without a refit it is the searched weights that are."""
        refits = self.config.training.refit and self.config.task.kind != "anomaly"
        return refits or bool(row.weights)

    @property
    def winner(self) -> TrialRow | None:
        """The trial that is exported; ``None`` while there is none, or the best are to be compared."""
        if self.config.winner.repeats == 0:
            return next(iter(self.leaders), None)
        decided = self.notes.get("winner", {})
        numbers = {row.number for row in self.finalists}
        wanted = self.config.winner
        asked = {"repeats": wanted.repeats, "asked": wanted.members}
        same = {name: decided.get(name) for name in asked} == asked
        if not numbers or not same or not numbers <= {*decided["finalists"]}:
            return None
        return self.rows[decided["trial"]]

    @property
    def members(self) -> list[TrialRow]:
        """The trials whose mean prediction is exported, the winner first; empty without one."""
        winner = self.winner
        numbers = self.decision.get("members", [winner.number] if winner else [])
        return [self.rows[number] for number in numbers]

    @property
    def decision(self) -> dict[str, Any]:
        """How the winner was chosen among the best, as ``Decision``; empty where none was."""
        decided: dict[str, Any] = self.notes.get("winner", {})
        return decided if self.winner and self.config.winner.repeats else {}

    @property
    def leaders(self) -> list[TrialRow]:
        """The complete trials, best first."""
        return list(self._ranked)

    @property
    def front(self) -> list[TrialRow]:
        """The complete trials worth choosing between where ``objective.also`` names something."""
        return list_front(self._ranked, self.direction, self.config.objective.also)

    def begin(
        self, listing: tuple[Listed, ...], known: Sequence[Mapping[str, Scalar]] = ()
    ) -> None:
        """Queue the default hyperparameters, which become trial 0 of a new study.

        Args:
            listing: What the default candidate asked for.
            known: What earlier studies found to be good, which is tried next.

        Raises:
            ConfigError: If a default, or a value of ``sampler.queue``, is none of what may be answered,
                or ``sampler.grid`` names what nobody asks for.
        """
        check_defaults(listing)
        check_grid(self.config.sampler, listing)
        self._fill_queue({listed.name: listed.default for listed in listing}, known)
        check_queue(listing, self._queue[1 + self._repeats :])

    def ask(self) -> int:
        """Open the next trial and return its number: a pruned one that is to go on, or another."""
        if self.config.pruner.second_chances:
            self._enqueue_promotion()
        enqueue_next(self._study, self._queue)
        trial = ask_trial(self._study, self.config.sampler, self.config.seed, self._space)
        self._open[trial.number] = trial
        self._reported[trial.number] = 0
        row = self._begin_row(TrialRow(number=trial.number), trial.user_attrs)
        self.rows[trial.number] = row
        self._continuing += row.continues is not None
        self._epochs += row.own_epochs
        return trial.number

    def _enqueue_promotion(self) -> None:
        """Let the next trial go on with a pruned one, if one is to."""
        trials = self._study.get_trials(deepcopy=False)
        if any(trial.state is TrialState.WAITING for trial in trials):
            return
        found = find_promotion(self._study, self._study.pruner, self._held)
        if found is not None:
            told = {CONTINUES: found.number, REASON: found.reason}
            self._study.enqueue_trial(trials[found.number].params, user_attrs=told)

    def _begin_row(self, row: TrialRow, told: Mapping[str, Any]) -> TrialRow:
        """Take in that a trial is begun, or goes on with a pruned one."""
        first = told.get(CONTINUES)
        if first is None:
            return replace(row, seed=trial_seed(self.config.seed, row.number))
        self._held.discard(first)
        hand_over(weights_folder(self.config), first, row.number)
        before = self.rows[first]
        begun_at = row.begun_at if row.epochs else before.epochs
        return replace(row, seed=before.seed, continues=first, begun_at=begun_at)

    def promotion(self, number: int) -> Promotion | None:
        """Say with which pruned trial one goes on, and why; ``None`` if it does not."""
        told = self._open[number].user_attrs
        if CONTINUES not in told:
            return None
        return Promotion(number=told[CONTINUES], reason=told[REASON])

    def _find_held(self) -> set[int]:
        """Find the pruned trials that can be continued."""
        folder, gone = weights_folder(self.config), {row.continues for row in self.rows.values()}
        pruned = [row.number for row in self.rows.values() if row.outcome is Outcome.PRUNED]
        return {
            number for number in pruned if number not in gone and list_checkpoint(folder, number)
        }

    def reopen(self) -> list[int]:
        """Open the trials that an earlier launch left running, and return their numbers.

        One driver holds the study's lock, so whatever is RUNNING at its start is an orphan.
        """
        orphans = self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        for orphan in orphans:
            number = orphan.number
            self._open[number] = self._continue(number)
            # What was reported is kept: it may be cut short before it reports anything again.
            row = replace(read_row(orphan), outcome=None)
            self._epochs -= self.rows[number].own_epochs
            self.rows[number] = self._begin_row(row, orphan.user_attrs)
            self._epochs += self.rows[number].own_epochs
        return [orphan.number for orphan in orphans]

    def begin_again(self, number: int) -> int:
        """Note that a worker is given a trial, and count how often since its last new epoch.

        Launches are counted together: a candidate may take the driver down with it.
        """
        trial, reported = self._open[number], self._reported[number]
        before, times = trial.user_attrs.get(BEGUN, (reported, 0))
        times = times + 1 if before == reported else 1
        trial.set_user_attr(BEGUN, (reported, times))
        self._seconds[number].clear()  # its next epoch compiles again
        return int(times)

    def begun(self, number: int) -> int:
        """Count how often a trial was begun since its last new epoch, as ``begin_again`` does."""
        reported, times = self._open[number].user_attrs.get(BEGUN, (0, 0))
        return int(times) if reported == self._reported[number] else 0

    def reported(self, number: int) -> int:
        """Count the epochs that a trial has reported."""
        return self._reported[number]

    def seed(self, number: int) -> int:
        """Say what a trial is trained with: what is derived from its number, or that of its beginning."""
        return self.rows[number].seed

    def answer(self, number: int, question: Question) -> Scalar:
        """Answer what a trial's space asks for; the same question gets the same answer."""
        return suggest(self._open[number], question.name, question.domain)

    def log_built(self, number: int, built: CandidateBuilt) -> None:
        """Take in that a trial's candidate is built.

        Raises:
            RuntimeError: If it would be scored on other targets than the study's.
        """
        expected = self.notes.get("targets_hash", built.targets_hash)
        if built.targets_hash != expected:
            raise RuntimeError(
                f"Every trial must be scored on the same targets. Received: "
                f"targets_hash={built.targets_hash!r} in trial {number}, the study has "
                f"{expected!r}."
            )
        row = self.rows[number]
        self._update(
            number,
            begun_at=row.begun_at if self._reported[number] else min(row.begun_at, built.epochs),
            parameters=built.parameters,
            parameter_count=built.parameter_count,
            cost=built.cost,
            latency_ms=built.latency_ms,
        )
        limit, trial = self.config.limits.latency_ms, self._open[number]
        # On disk with the hyperparameters, before MLflow hears of them.
        trial.set_user_attr(COUNT, built.parameter_count)
        known = trial.storage.get_trial(trial._trial_id).constraints
        if built.latency_ms is not None and limit is not None and LATENCY not in known:
            trial.set_constraint(LATENCY, built.latency_ms / limit - 1)

    def report_all(self, told: Mapping[int, EpochReport]) -> dict[int, Verdict]:
        """Take in what trials say, by their numbers, in one write, as ``report`` does one by one."""
        with self._together():
            return {number: self.report(number, report) for number, report in told.items()}

    def report(self, number: int, told: EpochReport) -> Verdict:
        """Take in an epoch and decide whether the trial goes on."""
        trial = self._open[number]
        if told.epoch >= self._reported[number]:
            report(trial, told.best, told.epoch)
            self._reported[number] = told.epoch + 1
        seconds = self._seconds[number]
        seconds.append(told.seconds)
        self._update(
            number,
            value=told.best,
            epochs=self._reported[number],
            epoch_seconds=typical_epoch(seconds),
        )
        # A trial that begins again passes its old epochs; the last one is judged again, since
        # the driver may have died before it acted on it.
        judged = not self._is_default(number) and told.epoch + 1 == self._reported[number]
        if judged and is_to_be_pruned(self._study, number):
            frozen = self._study.get_trials(deepcopy=False)[number]
            reason = prune_reason(self._study, frozen, self.config.pruner)
            if not is_immune(self.config.pruner, self.config.seed, number):
                return Verdict(outcome=Outcome.PRUNED, reason=reason)
            self._update(number, spared=self.rows[number].spared or reason)
        return Verdict()

    def _is_default(self, number: int) -> bool:
        """Tell whether a trial has the default hyperparameters, as trial 0 and its repeats."""
        default = self.rows[DEFAULTS]
        return number == DEFAULTS or (
            bool(default.parameters) and self.rows[number].parameters == default.parameters
        )

    def end(self, number: int, ended: TrialEnded, *, forgive: bool = True) -> TrialRow:
        """Take in how a trial ended; an interrupted one stays open in the study.

        Args:
            number: Its number.
            ended: How it ended.
            forgive: Whether an interrupted one may be begun again as if it had never been: not one that
                the whole launch failed in.

        Returns:
            What is known of it now.
        """
        trial = self._open.pop(number)
        row = self._update(
            number,
            outcome=ended.outcome,
            value=ended.value,
            best_epoch=ended.best_epoch,
            epochs=ended.epochs,
            parameters=ended.parameters or self.rows[number].parameters,
            metrics=ended.metrics,
            seconds=max(0.0, ended.seconds - self._seconds_before(number)),
            reason="; ".join(filter(None, (ended.reason, self._tell_spared(number)))),
            weights=ended.weights,
            latency_ms=ended.latency_ms or self.rows[number].latency_ms,
        )
        trial.set_user_attr(RECORD, asdict(row))
        if ended.outcome is Outcome.INTERRUPTED and forgive:
            trial.set_user_attr(BEGUN, (self._reported[number], 0))
        self._tell(trial, row)
        self._seconds.pop(number, None)
        if row.outcome in STATES:
            self.recent.append(row)
            self.rates = learn_rates(self.recent)
        return row

    def _tell_spared(self, number: int) -> str:
        """Say that a trial would have been pruned, or nothing."""
        spared = self.rows[number].spared
        return f"Immune (pruner.immune); it would have been pruned: {spared}" if spared else ""

    def _seconds_before(self, number: int) -> float:
        """Say how long the trial took that a trial goes on with, in seconds."""
        row = self.rows[number]
        return (
            self.rows[row.continues].seconds if row.continues is not None and row.begun_at else 0.0
        )

    def _roll_forward(self) -> None:
        """Tell Optuna how the trials ended of which a driver noted it and then died."""
        for orphan in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            number = orphan.number
            if self.rows[number].outcome in STATES:
                self._tell(self._continue(number), self.rows[number])

    def _continue(self, number: int) -> optuna.Trial:
        return continue_trial(
            self._study, number, self.config.sampler, self.config.seed, self._space
        )

    def _tell(self, trial: optuna.Trial, row: TrialRow) -> None:
        """Tell Optuna how a trial ended, unless it goes on in another launch."""
        if row.outcome is None or row.outcome not in STATES:
            return
        state = STATES[row.outcome]
        broken = trial.storage.get_trial(trial._trial_id).constraints.values()
        if row.outcome in UNUSABLE and not any(excess > 0 for excess in broken):
            trial.set_constraint("usable", 1.0)
        complete = state is TrialState.COMPLETE
        values = list_values(row, self.config.objective.also) if complete else None
        self._study.tell(row.number, values, state)
        # Only now: had the driver died before, the trial would have gone on from here.
        if row.outcome is Outcome.PRUNED and self.config.pruner.second_chances:
            self._hold(row.number)
        else:
            remove_checkpoint(weights_folder(self.config), row.number)

    def _hold(self, number: int) -> None:
        """Keep what it takes to continue the best of the pruned trials."""
        self._held.add(number)
        sign = -1.0 if self.direction == "maximize" else 1.0
        best = sorted(self._held, key=lambda one: (sign * (self.rows[one].value or 0.0), one))
        for one in best[self.config.pruner.kept :]:
            self._held.discard(one)
            remove_checkpoint(weights_folder(self.config), one)

    def keep_models(self, count: int) -> None:
        """Remove the weights of all but the best complete trials and those that may yet win."""
        kept = {row.number for row in (*self.leaders[:count], *self.finalists, *self.front)}
        kept.update(self.notes.get("winner", {}).get("members", []))
        kept.update(member["number"] for member in self.notes.get("test", {}).get("members", []))
        for row in self.leaders[count:]:
            if row.weights and row.number not in kept:
                Path(row.weights).unlink(missing_ok=True)
                self._update(row.number, weights="")

    def _update(self, number: int, **changes: Any) -> TrialRow:
        before = self.rows[number]
        row = self.rows[number] = replace(before, **changes)
        self._epochs += row.own_epochs - before.own_epochs
        key = partial(rank_key, self.direction)
        if is_ranked(before):
            del self._ranked[bisect_left(self._ranked, key(before), key=key)]
        if is_ranked(row):
            insort(self._ranked, row, key=key)
        if row.outcome is Outcome.INVALID:
            self._free.add(number)
        return row


def _open_study(storage: BaseStorage, config: StudyConfig, direction: Direction) -> LeadingStudy:
    """Open a study, or begin it anew where a launch came no further than to name it."""
    costs: list[Direction] = ["minimize" for _ in config.objective.also]
    directions = [direction, *costs]
    create = partial(
        optuna.create_study,
        storage=storage,
        study_name=config.name,
        directions=directions,
        load_if_exists=True,
    )
    study = create()
    known = [one.name.lower() for one in study.directions]
    if known != directions and not study.user_attrs:
        optuna.delete_study(study_name=config.name, storage=storage)
        create()
    pruner = make_pruner(config.pruner, config.training.max_epochs, config.seed)
    return open_study(config.name, storage, pruner)


def _count_epochs(trial: FrozenTrial) -> int:
    """Count the epochs after which a trial stands, those of the trial that it continues included."""
    return max(trial.intermediate_values, default=-1) + 1


def read_row(trial: FrozenTrial) -> TrialRow:
    """Read a trial's row back from Optuna.

    Args:
        trial: As the storage holds it.

    Returns:
        The row; a trial that was never ended has its number and what was reported.
    """
    record = trial.user_attrs.get(RECORD)
    if record is None:
        told = trial.intermediate_values
        value = told[max(told)] if told else None
        first = trial.user_attrs.get(CONTINUES)
        begun_at = min(told) if told and first is not None else 0
        return TrialRow(
            number=trial.number,
            value=value,
            epochs=_count_epochs(trial),
            continues=first,
            begun_at=begun_at,
            parameter_count=trial.user_attrs.get(COUNT),
        )
    cost = record["cost"] and Cost(**record["cost"])
    row = TrialRow(**{**record, "outcome": Outcome(record["outcome"]), "cost": cost})
    kept = row.weights if row.weights and Path(row.weights).is_file() else ""
    return replace(row, weights=kept)


def _freeze(values: Mapping[str, Scalar]) -> frozenset[tuple[str, Scalar]]:
    """Make of hyperparameters what equal ones share."""
    return frozenset(values.items())
