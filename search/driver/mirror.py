"""Optuna's trials are written to disk and read from memory."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import optuna
from optuna.distributions import BaseDistribution, distribution_to_json
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import InMemoryStorage, RDBStorage
from optuna.storages._rdb.models import (  # a row has no public name
    TrialIntermediateValueModel,
    TrialParamModel,
)
from optuna.storages._rdb.storage import _create_scoped_session  # nor has a transaction
from optuna.study import StudyDirection
from optuna.study._frozen import FrozenStudy  # what a storage returns has no public name
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import insert

from search.disk import wait_for_room
from search.driver.postgres import PostgresLock

Result = TypeVar("Result")


class MirroredStorage(InMemoryStorage):
    """Memory in front of a store on disk.

    A study has one driver, so nobody else writes what it would have to read again: reading is
    what costs half the time of a trial on SQLite. Every write is on disk before it is in memory, but for
    parameters, which are there before whatever else is said of their trial: of a trial that has said
    nothing yet, nothing is lost with them; and for reports that are made ``together``. A study is
    read from disk once, when it is first named here. While the disk is full, or the database away,
    writing waits.
    """

    def __init__(
        self,
        disk: RDBStorage,
        *,
        place: Path,
        say: Callable[[str], None],
        lock: PostgresLock | None = None,
    ) -> None:
        """Put memory in front of a store.

        Args:
            disk: The store.
            place: Its folder, for the person who can make room there.
            say: Told when writing waits, for room or the database, and when that is over.
            lock: The study's, where the store is a PostgreSQL database; else ``None``.
        """
        super().__init__()
        if lock is not None:
            lock.guard(disk.engine)
        self._place, self._say, self._held = place, say, lock
        # Optuna's cache remembers the distributions: without it each parameter is a query more.
        self._disk = optuna.storages.get_storage(disk)
        self._store = disk
        self._waiting: dict[int, list[tuple[Any, dict[str, Any]]]] = {}
        self._together: list[int] | None = None
        self._disk_studies: dict[int, int] = {}
        self._disk_trials: dict[int, int] = {}

    def create_new_study(
        self, directions: Sequence[StudyDirection], study_name: str | None = None
    ) -> int:
        """Create a study on disk and load it."""
        return self._load(self._reach(self._disk.create_new_study, directions, study_name))

    def get_study_id_from_name(self, study_name: str) -> int:
        """Find a study, and load it the first time."""
        try:
            return super().get_study_id_from_name(study_name)
        except KeyError:
            return self._load(self._reach(self._disk.get_study_id_from_name, study_name))

    def holds(self, study_name: str) -> bool:
        """Tell whether there is a study, and load no other."""
        try:
            self.get_study_id_from_name(study_name)
        except KeyError:
            return False
        return True

    def get_all_studies(self) -> list[FrozenStudy]:
        """List all studies on disk, and load them."""
        for study in self._reach(self._disk.get_all_studies):
            self.get_study_id_from_name(study.study_name)
        return super().get_all_studies()

    def delete_study(self, study_id: int) -> None:
        """Delete a study here and on disk."""
        self._reach(self._disk.delete_study, self._disk_studies[study_id])
        super().delete_study(study_id)

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        """Write an attribute of a study."""
        self._reach(self._disk.set_study_user_attr, self._disk_studies[study_id], key, value)
        super().set_study_user_attr(study_id, key, value)

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        """Write an attribute that Optuna keeps of a study."""
        self._reach(self._disk.set_study_system_attr, self._disk_studies[study_id], key, value)
        super().set_study_system_attr(study_id, key, value)

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """Begin or enqueue a trial."""
        tried: list[int] = []

        def create() -> int:
            disk_study = self._disk_studies[study_id]
            if tried:  # a commit whose answer was lost has made it already
                trials = self._disk.get_all_trials(disk_study, deepcopy=False)
                if len(trials) > len(self.get_all_trials(study_id, deepcopy=False)):
                    return trials[-1]._trial_id
            tried.append(study_id)
            return self._disk.create_new_trial(disk_study, template_trial)

        disk_id = self._reach(create)
        trial_id = super().create_new_trial(study_id, template_trial)
        self._disk_trials[trial_id] = disk_id
        return trial_id

    def set_trial_param(
        self,
        trial_id: int,
        param_name: str,
        param_value_internal: float,
        distribution: BaseDistribution,
    ) -> None:
        """Keep a parameter, which is written with the trial's next other word."""
        super().set_trial_param(trial_id, param_name, param_value_internal, distribution)
        self._wait(
            trial_id,
            TrialParamModel,
            param_name=param_name,
            param_value=param_value_internal,
            distribution_json=distribution_to_json(distribution),
        )

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        """Write what became of a trial."""
        disk_id = self._disk_trials[trial_id]
        tried: list[int] = []

        def end() -> bool:
            try:
                tried.append(disk_id)
                done = self._disk.set_trial_state_values(disk_id, state, values)
                return done or len(tried) > 1  # one that runs already was begun by a lost answer
            except UpdateFinishedTrialError:
                if len(tried) == 1:
                    raise
                return True  # a commit whose answer was lost has ended it already

        self._write_waiting(trial_id)
        written = self._reach(end)
        return written and super().set_trial_state_values(trial_id, state, values)

    def set_trial_intermediate_value(
        self, trial_id: int, step: int, intermediate_value: float
    ) -> None:
        """Write a report, or keep it until all that are made together are written."""
        if step in self.get_trial(trial_id).intermediate_values:
            self._write_waiting(trial_id)
            disk_id = self._disk_trials[trial_id]
            self._reach(self._disk.set_trial_intermediate_value, disk_id, step, intermediate_value)
        else:
            made = TrialIntermediateValueModel
            stored, kind = made.intermediate_value_to_stored_repr(intermediate_value)
            told = {"intermediate_value": stored, "intermediate_value_type": kind}
            self._wait(trial_id, made, step=step, **told)
            if self._together is None:
                self._write_waiting(trial_id)
            else:
                self._together.append(trial_id)
        super().set_trial_intermediate_value(trial_id, step, intermediate_value)

    @contextmanager
    def together(self) -> Iterator[None]:
        """Write the reports that are made meanwhile in one transaction, at the end."""
        told: list[int] = []
        self._together = told
        try:
            yield
        finally:
            self._together = None
        self._write_waiting(*dict.fromkeys(told))

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Write an attribute of a trial."""
        self._write_waiting(trial_id)
        self._reach(self._disk.set_trial_user_attr, self._disk_trials[trial_id], key, value)
        super().set_trial_user_attr(trial_id, key, value)

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Write an attribute that Optuna keeps of a trial."""
        self._write_waiting(trial_id)
        self._reach(self._disk.set_trial_system_attr, self._disk_trials[trial_id], key, value)
        super().set_trial_system_attr(trial_id, key, value)

    def _wait(self, trial_id: int, made: Any, **what: Any) -> None:
        """Let a row of a trial's wait."""
        row = {"trial_id": self._disk_trials[trial_id], **what}
        self._waiting.setdefault(trial_id, []).append((made, row))

    def _write_waiting(self, *trial_ids: int) -> None:
        """Write the rows of trials that wait in one transaction: Optuna's own way takes one for each."""
        rows: dict[Any, list[dict[str, Any]]] = {}
        for trial_id in trial_ids:
            for made, row in self._waiting.get(trial_id, ()):
                rows.setdefault(made, []).append(row)
        if not rows:
            return

        def write() -> None:
            # A second time, after an answer that was lost, they are there: that is ignored.
            with _create_scoped_session(self._store.scoped_session, True) as session:
                for made, told in rows.items():
                    session.execute(insert(made), told)

        self._reach(write)
        for trial_id in trial_ids:
            self._waiting.pop(trial_id, None)

    def _reach(self, call: Callable[..., Result], *what: Any) -> Result:
        if self._held is not None:
            return self._held.reach(lambda: call(*what), say=self._say)
        return wait_for_room(lambda: call(*what), place=self._place, say=self._say)

    def _load(self, disk_id: int) -> int:
        disk, reach = self._disk, self._reach
        name = reach(disk.get_study_name_from_id, disk_id)
        directions = reach(disk.get_study_directions, disk_id)
        user_attrs = reach(disk.get_study_user_attrs, disk_id)
        system_attrs = reach(disk.get_study_system_attrs, disk_id)
        trials = reach(disk.get_all_trials, disk_id, False)
        study_id = super().create_new_study(directions, name)
        self._disk_studies[study_id] = disk_id
        for key, value in user_attrs.items():
            super().set_study_user_attr(study_id, key, value)
        for key, value in system_attrs.items():
            super().set_study_system_attr(study_id, key, value)
        for trial in trials:
            trial_id = super().create_new_trial(study_id, trial)
            self._disk_trials[trial_id] = trial._trial_id
            # By these a name of another kind is refused, which only Optuna's stores on disk look up.
            for param_name, distribution in trial.distributions.items():
                self._studies[study_id].param_distribution.setdefault(param_name, distribution)
        return study_id
