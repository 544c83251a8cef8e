"""The ask, submit, report and tell loop: every message of a worker is answered here."""

import time
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from search.driver.costs import predict_again, predict_search
from search.driver.executors.base import Arrival
from search.driver.leaderboard import TrialRow, write_markdown, write_study
from search.driver.progress import StudyStatus
from search.driver.requests import (
    AWAY_SECONDS,
    TICK_SECONDS,
    Hear,
    Order,
    Reply,
    Room,
    ask_workers,
    raise_failure,
)
from search.driver.tracking.tracker import Tracker
from search.driver.trials import Trials
from search.errors import ServiceAway, StudyStopped
from search.messages import (
    Answer,
    CandidateBuilt,
    DiskNews,
    EpochReport,
    FromWorker,
    Member,
    Outcome,
    Question,
    RefitTrial,
    TrainTrial,
    TrialEnded,
    Verdict,
    WorkerDied,
    WorkerFailed,
    WorkerReady,
)

NEARLY = 0.8
"""Of the memory at which a worker is replaced: from here on the next trial may be its last."""
SUCCESSES = (Outcome.COMPLETE, Outcome.PRUNED)


class Ending(StrEnum):
    """Why a launch ended."""

    FINISHED = "finished"
    INTERRUPTED = "interrupted"
    OUT_OF_TIME = "out of time"


TURN_SECONDS = 0.1
"""How long trials are begun, and questions answered, before reports are looked for again."""


@dataclass(kw_only=True)
class _Watch:
    """When a slot's trial began and was last heard of, on the monotonic clock.

    Time that its worker waits for an answer or for room on a disk, or in which the driver could not listen,
    is none.
    """

    began: float = field(default_factory=time.monotonic)
    heard: float = field(default_factory=time.monotonic)
    waits_since: float | None = None
    answers: int = 0
    killed_for: str = ""
    overtime: bool = False

    def wait(self, waiting: bool) -> None:
        """Take in that the worker waits for an answer or for room on a disk, or does so no more."""
        now = time.monotonic()
        if self.waits_since is not None:
            self.began += now - self.waits_since
            self.heard = now
        self.waits_since = now if waiting else None

    def leave_out(self, seconds: float) -> None:
        """Take in that the driver could not listen for some time, up to now."""
        now = time.monotonic()
        self.began, self.heard = min(self.began + seconds, now), min(self.heard + seconds, now)
        if self.waits_since is not None:
            self.waits_since = now


class StudyLoop:
    """Keeps every slot busy until the budget is spent or somebody stops it."""

    def __init__(
        self,
        room: Room,
        trials: Trials,
        tracker: Tracker,
        *,
        ready: set[int],
        baseline: float | None,
    ) -> None:
        self._room = room
        self._config = room.config
        self._trials = trials
        self._tracker = tracker
        self._idle = set(ready)
        self._busy: dict[int, int] = {}
        self._asked: OrderedDict[int, Question] = OrderedDict()
        self._watches: dict[int, _Watch] = {}
        self._looked = time.monotonic()
        self._baseline = baseline
        self._waiting: deque[int] = deque()
        self._begun: Counter[int] = Counter()
        self._ended: Counter[int] = Counter()
        self._memory_mb: defaultdict[int, float] = defaultdict(float)
        self._raised: set[int] = set()
        self._failures = 0
        self._gave_up = ""
        self._finals_seconds = self._predict_finals()
        self._told = False
        self._progress: tuple[dict[str, float], str] = {}, ""

    def run(self) -> Ending:
        """Run trials until none is left to begin and none is running.

        Returns:
            Why it ended.

        Raises:
            ConfigError: If a space asks for what cannot be answered.
            StudyStopped: After too many failures in a row, or if workers do not come up again.
            WorkerBug: If a worker met a bug.
        """
        self._waiting.extend(self._trials.reopen())
        self._tracker.reconcile(self._trials.rows.values())
        try:
            while self._busy or self._wants_more():
                more = self._dispatch() or bool(self._asked)
                self._hear(self._room.executor.receive(0.0 if more else TICK_SECONDS))
                self._answer()
                self._watch()
                self._room.view.show(self.status())
                self._acknowledge()
        finally:
            self._abandon()
        if self._ended:
            self._log_progress(last=True)
        if self._gave_up:
            raise StudyStopped(self._gave_up)
        if self._room.interrupt.requested:
            return Ending.INTERRUPTED
        return Ending.OUT_OF_TIME if self._out_of_time() else Ending.FINISHED

    def ask(
        self,
        orders: Sequence[Order],
        reply: type[Reply],
        what: str,
        hear: Hear[Reply] = lambda number, message: None,
    ) -> list[Reply]:
        """Have idle workers carry out orders, once the loop has run; see ``ask_workers``."""
        return ask_workers(self._room, self._idle, orders, reply, what, hear)

    def refit(self, rows: Sequence[TrialRow], epochs: Mapping[str, int], look: int) -> list[Member]:
        """Have workers train complete trials' candidates on all but the test targets.

        Args:
            rows: Complete trials.
            epochs: How long, by the trial's number as text.
            look: Which look at the test targets they are trained for, from 1.

        Returns:
            What was trained; a candidate that failed this time keeps its searched weights.

        Raises:
            WorkerBug: If a worker cannot.
        """
        orders = [
            RefitTrial(
                number=row.number,
                parameters=row.parameters,
                seed=row.seed,
                epochs=epochs[str(row.number)],
            )
            for row in rows
        ]
        curves: list[list[EpochReport]] = [[] for _ in orders]

        def hear(place: int, message: EpochReport | TrialEnded) -> None:
            if isinstance(message, EpochReport):
                del curves[place][message.epoch :]  # a worker that died began again
                curves[place].append(message)

        members = []
        replies = self.ask(orders, TrialEnded, "Training on all but the test targets", hear)
        for row, order, refitted, curve in zip(rows, orders, replies, curves, strict=True):
            self._tracker.log_refit(row.number, look, refitted, curve)
            member = row.as_member()
            if refitted.weights:
                member = replace(member, weights=refitted.weights, epochs=order.epochs)
            else:
                self._room.view.say(f"The searched weights are kept: {refitted.reason}")
            members.append(member)
        return members

    def status(self) -> StudyStatus:
        """Say where the study stands."""
        unfinished = len(self._busy) + len(self._waiting)
        spent, budget = self._trials.charged - unfinished, self._trials.budget
        return StudyStatus(
            study=self._config.name,
            metric=self._config.objective.metric,
            direction=self._trials.direction,
            baseline=self._baseline,
            budget=budget,
            spent=spent,
            rows=tuple(self._trials.rows.values()),
            leaders=self._trials.leaders,
            elapsed_seconds=time.monotonic() - self._room.start,
            seconds_left=self._seconds_left(),
        )

    def _seconds_left(self) -> float | None:
        """Predict how long the search and the trainings after it still take."""
        trials, limit = self._trials, self._config.budget.max_seconds
        running = [trials.rows[number] for number in (*self._busy.values(), *self._waiting)]
        search = predict_search(running, trials.recent, trials.unbegun, trials.rates)
        if search is None:
            return None
        search /= self._room.executor.slots
        if limit is not None:
            search = min(search, limit - (time.monotonic() - self._room.start))
        return max(0.0, search + self._finals_seconds)

    def _predict_finals(self) -> float:
        """Predict how long it takes to train the best trials again, were the search over now."""
        config, slots = self._config, self._room.executor.slots
        finalists = self._trials.finalists
        again = [predict_again(row, row.as_member().epochs) for row in finalists]
        refits = config.training.refit and config.task.kind != "anomaly"
        last = sum(again[: config.winner.members]) if refits else 0.0
        return (config.winner.repeats * sum(again) + last) / slots

    def _out_of_time(self) -> bool:
        limit = self._config.budget.max_seconds
        return limit is not None and time.monotonic() - self._room.start >= limit

    def _stopping(self) -> str:
        """Say why nothing new is begun, or nothing."""
        if self._room.interrupt.requested:
            return "interrupted: launch the study again to continue this trial"
        if self._out_of_time():
            return "budget.max_seconds is over: launch the study again to continue this trial"
        return self._gave_up

    def _wants_more(self) -> bool:
        if self._stopping():
            return False
        return bool(self._waiting) or not self._trials.spent

    def _hear(self, arrivals: Sequence[Arrival]) -> None:
        """Take in what has come: reports together, questions later, all else at once."""
        reports: dict[int, EpochReport] = {}
        for slot, message in arrivals:
            self._asked.pop(slot, None)  # a worker that died waits for no answer
            match message:
                case Question():
                    self._asked[slot] = message
                    self._watches[slot].wait(True)
                    if self._watches[slot].answers:
                        self._asked.move_to_end(slot, last=False)
                case EpochReport():
                    reports[slot] = message
                case _:
                    if slot in reports:  # and one that died has reported before
                        self._judge({slot: reports.pop(slot)})
                    self._handle(slot, message)
        self._judge(reports)

    def _answer(self) -> None:
        """Answer questions for a while: to suggest takes far longer than to judge a report, which waits else.

        A trial's first one takes longest, so those that were answered before come first: else all that
        begin at once would train at once, and none before the last.
        """
        until = time.monotonic() + TURN_SECONDS
        while self._asked:
            slot, question = self._asked.popitem(last=False)
            self._watches[slot].answers += 1
            self._handle(slot, question)
            self._watches[slot].wait(False)
            if time.monotonic() >= until:
                return

    def _dispatch(self) -> bool:
        """Begin trials for a while, and tell whether more are to be begun now."""
        until = time.monotonic() + TURN_SECONDS
        while self._idle and self._wants_more():
            slot = self._find_idle()
            number = self._waiting.popleft() if self._waiting else self._trials.ask()
            times = self._trials.begin_again(number)
            if times > self._config.workers.max_restarts + 1:
                reason = (
                    f"it was begun {times - 1} times, and its worker or the driver failed in it"
                )
                self._cut_short(number, Outcome.FAILED, reason)
                continue
            self._idle.remove(slot)
            self._busy[slot] = number
            self._watches[slot] = _Watch()
            self._begun[number] += 1
            promotion = self._trials.promotion(number)
            if promotion and self._begun[number] == 1:
                self._room.view.say(f"Trial {number}: {promotion.reason}")
            self._tracker.start_trial(number, promotion)
            seed, rates = self._trials.seed(number), self._trials.rates
            order = TrainTrial(number=number, seed=seed, rates=rates)
            self._room.executor.send(slot, order)
            if self._is_last(slot) and self._wants_more():
                self._room.executor.prepare(slot)
            if time.monotonic() >= until:
                return bool(self._idle) and self._wants_more()
        return False

    def _find_idle(self) -> int:
        """Find the worker that waits longest: where trials end faster than they begin none is left out."""
        heard = {slot: watch.heard for slot, watch in self._watches.items()}
        return min(self._idle, key=lambda slot: (heard.get(slot, 0.0), slot))

    def _watch(self) -> None:
        """End workers that hang, and those whose trial takes too long."""
        limit, silent = self._config.training.max_seconds, self._config.workers.max_silent_seconds
        now = time.monotonic()
        away, self._looked = now - self._looked, now
        for slot in self._busy:
            watch = self._watches[slot]
            if away > AWAY_SECONDS:
                watch.leave_out(away)
            if watch.killed_for or watch.waits_since is not None:
                continue
            if limit is not None and now - watch.began >= limit:
                watch.killed_for = f"training.max_seconds allows {limit:g} s."
                watch.overtime = True
            elif now - watch.heard >= silent:
                watch.killed_for = f"its worker said nothing for {silent:g} s"
            if watch.killed_for:
                self._room.executor.kill(slot)

    def _handle(self, slot: int, message: FromWorker) -> None:
        if slot in self._watches:
            self._watches[slot].heard = time.monotonic()
        match message:
            case WorkerReady():
                self._idle.add(slot)
                self._room.starts.welcome(slot)
            case Question():
                value = self._trials.answer(self._busy[slot], message)
                self._room.executor.send(slot, Answer(value=value))
            case CandidateBuilt():
                self._trials.log_built(self._busy[slot], message)
                self._tracker.log_built(self._busy[slot], message)
                self._say_where_from(self._busy[slot], message.epochs)
            case DiskNews():
                self._room.view.say(message.text)
                self._watches[slot].wait(message.waiting)
            case TrialEnded():
                self._end(self._busy.pop(slot), message)
                self._free(slot, message)
            case WorkerDied() if slot in self._busy:
                self._memory_mb[slot] = 0.0
                self._bury(self._busy.pop(slot), message, self._watches[slot])
            case WorkerDied():
                self._idle.discard(slot)
                self._room.starts.bury(slot, message, self._config.workers.max_restarts)
            case _:
                if isinstance(message, WorkerFailed) and not message.mistake:
                    self._raised.add(self._busy.get(slot, -1))
                raise_failure(message)

    def _judge(self, reports: Mapping[int, EpochReport]) -> None:
        """Answer reports, by slot; none is answered before all are on disk."""
        verdicts = self._trials.report_all(
            {self._busy[slot]: report for slot, report in reports.items()}
        )
        stopping = self._stopping()
        for slot, report in reports.items():
            number = self._busy[slot]
            verdict = verdicts[number]
            if verdict.outcome is None and stopping:
                verdict = Verdict(outcome=Outcome.INTERRUPTED, reason=stopping)
            # Before the verdict: the worker's checkpoint holds no epoch that is not recorded.
            self._tracker.log_epoch(number, report)
            self._watches[slot].heard = time.monotonic()
            self._room.executor.send(slot, verdict)

    def _say_where_from(self, number: int, epochs: int) -> None:
        """Say how much of a trial that was taken up again has to be trained again."""
        reported = self._trials.reported(number)
        if reported:
            again = f"{reported - epochs} reported before are trained again"
            self._room.view.say(f"Trial {number} goes on after epoch {epochs}; {again}.")

    def _is_last(self, slot: int) -> bool:
        """Tell whether a worker is likely to be replaced after the trial that it begins."""
        workers = self._config.workers
        if (self._ended[slot] + 1) % workers.trials_each == 0:
            return True
        return self._memory_mb[slot] > NEARLY * workers.recycle_mb

    def _free(self, slot: int, ended: TrialEnded) -> None:
        self._ended[slot] += 1
        self._memory_mb[slot] = ended.memory_mb
        workers = self._config.workers
        if (
            self._ended[slot] % workers.trials_each == 0
            or ended.memory_mb > workers.recycle_mb
            or ended.outcome is Outcome.OUT_OF_MEMORY  # what is left of it may lie in pieces
        ):
            self._room.executor.replace(slot)
            self._memory_mb[slot] = 0.0
        else:
            self._idle.add(slot)

    def _bury(self, number: int, death: WorkerDied, watch: "_Watch") -> None:
        """Decide what becomes of a trial whose worker died."""
        reason = watch.killed_for or death.reason
        seconds = time.monotonic() - watch.began
        if watch.overtime:
            self._cut_short(number, Outcome.OVERTIME, reason, seconds)
        elif death.out_of_memory and not watch.killed_for:
            self._cut_short(number, Outcome.OUT_OF_MEMORY, reason, seconds)
        elif self._trials.begun(number) <= self._config.workers.max_restarts:
            self._room.view.say(f"Trial {number} is taken up again: {reason}.")
            self._waiting.appendleft(number)
        else:
            times = self._trials.begun(number)
            reason = f"its worker died {times} times without a new epoch; {reason}"
            self._cut_short(number, Outcome.FAILED, reason, seconds)

    def _cut_short(self, number: int, outcome: Outcome, reason: str, seconds: float = 0.0) -> None:
        """End a trial whose worker cannot say how it stood."""
        self._end(number, self._describe(number, outcome, reason, seconds))

    def _describe(
        self, number: int, outcome: Outcome, reason: str, seconds: float = 0.0
    ) -> TrialEnded:
        row = self._trials.rows[number]
        return TrialEnded(
            outcome=outcome,
            value=row.value,
            epochs=row.epochs,
            parameters=row.parameters,
            seconds=seconds,
            reason=reason,
        )

    def _end(self, number: int, ended: TrialEnded) -> None:
        # A second attempt may end before the first had: what was reported stays.
        epochs = max(ended.epochs, self._trials.reported(number))
        ended = replace(ended, epochs=epochs)
        row = self._trials.end(number, ended, forgive=number not in self._raised)
        self._tracker.end_trial(number, replace(ended, seconds=row.seconds, reason=row.reason))
        self._count_failure(row)
        self._trials.keep_models(self._config.storage.kept_models)
        self._finals_seconds = self._predict_finals()
        self._log_progress()
        self._room.view.end_trial(row, self.status())

    def _log_progress(self, *, last: bool = False) -> None:
        """Record the best so far where it has changed, and all that is described when the search ends.

        MLflow looks through all earlier points of a run for each new one, and to describe all trials
        takes longer the more there are.
        """
        leaders, metric = self._trials.leaders, self._config.objective.metric
        best = {"best_objective": leaders[0].value or 0.0} if leaders else {}
        table = write_markdown(leaders, metric)
        if last or (best, table) != self._progress:
            changed = best != self._progress[0]
            text = write_study(leaders, metric)
            self._tracker.log_study(metrics=best if changed else {}, description=text)
            self._progress = best, table

    def _abandon(self) -> None:
        """Leave what is begun and not ended for the next launch, and say so.

        Raises:
            ServiceAway: If the study's database does not answer; MLflow is told all the same.
        """
        reason = "the driver stopped: launch the study again to continue this trial"
        away: ServiceAway | None = None
        for number in (*self._busy.values(), *self._waiting):
            ended = self._describe(number, Outcome.INTERRUPTED, reason)
            if away is None:
                try:
                    self._end(number, ended)
                    continue
                except ServiceAway as exc:  # and each further try would take as long to find out
                    away = exc
            self._tracker.end_trial(number, ended)
        self._busy.clear()
        if away is not None:
            raise away

    def _acknowledge(self) -> None:
        if self._room.interrupt.requested and not self._told:
            self._told = True
            self._room.view.say("Stopping after this epoch. Once more to stop at once.")

    def _count_failure(self, row: TrialRow) -> None:
        """Give up after too many failures in a row; an interrupted trial is no answer."""
        if row.outcome is Outcome.INTERRUPTED:
            return
        self._failures = 0 if row.outcome in SUCCESSES else self._failures + 1
        if self._failures >= self._config.budget.max_consecutive_failures:
            self._gave_up = self._gave_up or (
                f"budget.max_consecutive_failures: {self._failures} trials failed in a row, so "
                f"the study stopped. The last one, trial {row.number}, ended {row.outcome}: "
                f"{row.reason}"
            )
