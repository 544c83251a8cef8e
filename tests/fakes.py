"""Stand-ins that play a script: workers that replay learning curves, a tracker in memory."""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from search.driver.decision import Repeat
from search.driver.executors.base import Arrival
from search.driver.leaderboard import TrialRow
from search.driver.progress import PlainView, StudyStatus
from search.driver.promotion import Promotion
from search.messages import (
    Answer,
    CandidateBuilt,
    Cost,
    DiskNews,
    EpochReport,
    FloatDomain,
    FromWorker,
    IntDomain,
    Listed,
    ListSpace,
    Outcome,
    Question,
    RefitTrial,
    RepeatTrial,
    Scalar,
    ScoreMembers,
    SpaceListed,
    Stop,
    ToWorker,
    TrainTrial,
    TrialEnded,
    TrialScored,
    Verdict,
    WorkerDied,
    WorkerReady,
    WorkerSetup,
)

LISTING = (
    Listed(name="units", domain=IntDomain(low=4, high=128, log=True), default=32),
    Listed(name="rate", domain=FloatDomain(low=1e-4, high=1e-1, log=True), default=1e-2),
    Listed(name="depth", domain=IntDomain(low=1, high=4), default=2),
)
Curve = Callable[
    [int, Mapping[str, Scalar]], Sequence[float] | TrialEnded | WorkerDied | DiskNews | None
]
"""From a trial's number and hyperparameters to its learning curve, to another end, or to silence."""


def rising_curve(number: int, parameters: Mapping[str, Scalar]) -> Sequence[float]:
    """Learn better the nearer the rate is to 0.01, over five epochs."""
    peak = 1.0 / (1.0 + abs(float(parameters["rate"] or 0) - 0.01) * 50)
    return [peak * (epoch + 1) / 5 for epoch in range(5)]


class ScriptedExecutor:
    """Workers that ask for three hyperparameters and replay a curve, without processes."""

    def __init__(self, slots: int = 2, curve: Curve = rising_curve) -> None:
        self.slots = slots
        self.curve = curve
        self.listed = SpaceListed(listing=LISTING)
        self.orders: list[TrainTrial] = []
        self.given: dict[int, int] = {}
        self.replaced: list[int] = []
        self.prepared: list[int] = []
        self.killed: list[int] = []
        self.stopped = False
        self.timed = False
        self.trained: Counter[int] | None = None
        """Epochs by seed, where what was pruned can be continued."""
        self.die_in_refit = False
        self.out_of_memory = False
        self._late: int | None = None
        self._arrivals: deque[Arrival] = deque()
        self._workers: dict[int, Iterator[FromWorker]] = {}
        self._heard: dict[int, ToWorker] = {}

    def start(self, setup: WorkerSetup | None = None) -> None:
        for slot in range(self.slots):
            self._arrivals.append((slot, self._ready(slot)))

    def send(self, slot: int, message: ToWorker) -> None:
        self._heard[slot] = message
        match message:
            case ListSpace():
                self._arrivals.append((slot, self.listed))
                if self._late is not None:
                    self._arrivals.append((self._late, self._ready(self._late)))
            case TrainTrial():
                self.orders.append(message)
                self.given[slot] = message.number
                self._workers[slot] = self._play(slot, message)
                self._step(slot)
            case Answer() | Verdict():
                self._step(slot)
            case RepeatTrial():
                self._workers[slot] = self._train(slot, message.number, message.parameters)
                self._step(slot)
            case RefitTrial() if self.die_in_refit:
                self.die_in_refit = False
                self.die(slot)
            case RefitTrial():
                refitted = TrialEnded(outcome=Outcome.COMPLETE, weights="refit.npz")
                self._arrivals.append((slot, refitted))
            case ScoreMembers():
                self._arrivals.append((slot, TrialScored(metrics={"accuracy": 0.5})))
            case Stop():
                pass

    def receive(self, max_seconds: float) -> Sequence[Arrival]:
        arrivals = list(self._arrivals)
        self._arrivals.clear()
        return arrivals

    def prepare(self, slot: int) -> None:
        self.prepared.append(slot)

    def replace(self, slot: int) -> None:
        self.replaced.append(slot)
        self._arrivals.append((slot, self._ready(slot)))

    def kill(self, slot: int) -> None:
        self.killed.append(slot)
        self.die(slot)

    def stop(self) -> None:
        self.stopped = True

    def say(self, slot: int, message: FromWorker) -> None:
        """Let a worker say something of its own accord."""
        self._arrivals.append((slot, message))

    def die(self, slot: int, *, ready: bool = True) -> None:
        """Let an idle worker die, and perhaps come up again."""
        death = WorkerDied(reason="killed", out_of_memory=self.out_of_memory)
        self._arrivals.append((slot, death))
        if ready:
            self._arrivals.append((slot, self._ready(slot)))

    def delay_ready(self, slot: int) -> None:
        """Let a worker come up together with the listing that another one sends."""
        self._arrivals = deque(arrival for arrival in self._arrivals if arrival[0] != slot)
        self._late = slot

    def forget_ready(self) -> None:
        """Let no worker have come up."""
        arrivals = [a for a in self._arrivals if not isinstance(a[1], WorkerReady)]
        self._arrivals = deque(arrivals)

    def _ready(self, slot: int) -> WorkerReady:
        return WorkerReady(pid=slot, versions={}, device="script")

    def _step(self, slot: int) -> None:
        for message in self._workers[slot]:
            self._arrivals.append((slot, message))
            if isinstance(message, WorkerDied):
                self._arrivals.append((slot, self._ready(slot)))
            if isinstance(message, Question | EpochReport):
                return

    def _play(self, slot: int, order: TrainTrial) -> Iterator[FromWorker]:
        parameters: dict[str, Scalar] = {}
        for listed in LISTING:
            yield Question(name=listed.name, domain=listed.domain, default=listed.default)
            answer = self._heard[slot]
            assert isinstance(answer, Answer)
            parameters[listed.name] = answer.value
        cost = Cost(steps=10, waits=80, work=1e6 * float(parameters["units"] or 0))
        latency_ms = 0.1 * float(parameters["units"] or 0) if self.timed else None
        first = self.trained[order.seed] if self.trained is not None else 0
        yield CandidateBuilt(
            parameters=parameters,
            parameter_count=100,
            epochs=first,
            cost=cost,
            latency_ms=latency_ms,
        )
        for message in self._train(slot, order.number, parameters, first):
            if isinstance(message, EpochReport) and self.trained is not None:
                self.trained[order.seed] = message.epoch + 1
            yield message

    def _train(
        self, slot: int, number: int, parameters: Mapping[str, Scalar], first: int = 0
    ) -> Iterator[FromWorker]:
        curve = self.curve(number, parameters)
        if curve is None:
            return
        if not isinstance(curve, Sequence):
            yield curve
            return
        for epoch, value in enumerate(curve[first:], first):
            best = max(curve[: epoch + 1])
            yield EpochReport(
                epoch=epoch,
                metrics={"val_accuracy": value},
                objective=value,
                best=best,
                seconds=0.01,
            )
            verdict = self._heard[slot]
            assert isinstance(verdict, Verdict)
            if verdict.outcome is not None:
                yield self._ended(verdict.outcome, curve[: epoch + 1], parameters, verdict.reason)
                return
        yield self._ended(Outcome.COMPLETE, curve, parameters, "")

    def _ended(
        self,
        outcome: Outcome,
        curve: Sequence[float],
        parameters: Mapping[str, Scalar],
        reason: str,
    ) -> TrialEnded:
        return TrialEnded(
            outcome=outcome,
            value=max(curve),
            best_epoch=curve.index(max(curve)),
            epochs=len(curve),
            parameters=parameters,
            seconds=0.02 * len(curve),
            reason=reason,
        )


class MemoryTracker:
    """Keeps what the driver says, in order."""

    def __init__(self) -> None:
        self.begun: list[int] = []
        self.promotions: dict[int, Promotion] = {}
        self.built: dict[int, CandidateBuilt] = {}
        self.epochs: dict[int, list[EpochReport]] = {}
        self.ended: dict[int, TrialEnded] = {}
        self.repeats: dict[tuple[int, int], list[EpochReport]] = {}
        self.refits: dict[tuple[int, int], TrialEnded] = {}
        self.baselines: dict[str, Mapping[str, float]] = {}
        self.study: dict[str, float] = {}
        self.points: list[dict[str, float]] = []
        self.tags: dict[str, str] = {}
        self.description = ""
        self.texts: dict[str, str] = {}
        self.reconciled: list[int] = []
        self.closed = ""

    def start_trial(self, number: int, promotion: Promotion | None = None) -> None:
        self.begun.append(number)
        self.promotions |= {number: promotion} if promotion else {}

    def log_built(self, number: int, built: CandidateBuilt) -> None:
        self.built[number] = built

    def log_epoch(self, number: int, report: EpochReport) -> None:
        self.epochs.setdefault(number, []).append(report)

    def end_trial(self, number: int, ended: TrialEnded) -> None:
        self.ended[number] = ended

    def log_repeat(self, repeat: Repeat, ended: TrialEnded, curve: Sequence[EpochReport]) -> None:
        self.repeats[repeat.number, repeat.repeat] = list(curve)

    def log_refit(
        self, number: int, look: int, ended: TrialEnded, curve: Sequence[EpochReport]
    ) -> None:
        self.refits[number, look] = ended

    def log_baseline(self, name: str, scores: Mapping[str, float]) -> None:
        self.baselines[name] = scores

    def log_study(
        self,
        *,
        metrics: Mapping[str, float] | None = None,
        tags: Mapping[str, str] | None = None,
        description: str = "",
    ) -> None:
        self.study |= metrics or {}
        self.points += [dict(metrics)] if metrics else []
        self.tags |= tags or {}
        self.description = description or self.description

    def log_text(self, name: str, text: str) -> None:
        self.texts[name] = text

    def reconcile(self, rows: Iterable[TrialRow]) -> None:
        self.reconciled = [row.number for row in rows if row.outcome is not None]

    def close(self, status: str, patience_seconds: float = 0.0) -> None:
        self.closed = status


class QuietView(PlainView):
    """Keeps what would be shown."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.statuses: list[StudyStatus] = []
        self.steps: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)

    def show_reading(self, what: str, done: int, total: int) -> None:
        self.said.append(f"{what}: {done}/{total}")

    def show(self, status: StudyStatus) -> None:
        self.statuses.append(status)

    def show_step(self, what: str, done: int, total: int, elapsed_seconds: float) -> None:
        self.steps.append(f"{what}: {done}/{total}")
