"""MLflow's model registry: a checked model becomes a version of the study's registered model."""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import mlflow
from mlflow import MlflowClient
from mlflow.entities import LoggedModel, LoggedModelOutput, Run
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import Model
from mlflow.pyfunc import CODE, DATA, FLAVOR_NAME, MAIN
from mlflow.utils.mlflow_tags import MLFLOW_MODEL_VERSIONS

from search.driver.tracking.store import (
    KIND,
    LOOK,
    STUDY,
    TRIAL,
    open_client,
    search_runs,
    store_uri,
    translate_errors,
)
from search.errors import StudyError
from search.results import answering
from search.results.browsing import find_study
from search.results.formats import LOADED_DATA, LOADER
from search.results.winner import Winner

os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")

CHAMPION = "champion"
"""The alias of the best version, as far as versions can be compared."""
CANDIDATE = "candidate"
"""The alias of a version that another one stands before, for a person to decide."""
FINGERPRINT = "lookback.data_fingerprint"
STUDY_RUN = "lookback.study_run"
METRIC = "lookback.metric"
VALUE = "lookback.validation"
TRAINED_BY = "lookback.trained_by"
"""The run of the training whose weights the version holds, where it was not the search's."""
READER = "lookback.answering_sha256"
DIGEST = "lookback.weights_sha256"
PACKAGE = "lookback.package_sha256"
"""Of the version's files that are loaded, as they were registered."""
LOADED = ("MLmodel", "code", "data")
"""What MLflow reads where it loads a registered model: what to run, the code, and what that reads."""
RUN = {MAIN: LOADER, CODE: "code", DATA: f"data/{LOADED_DATA}"}
"""What a registered model's MLmodel has MLflow run, and on what."""
DESCRIBED = {"env", "python_version", "streamable"}
"""What else it may say, of which nothing is run."""


READER_DIGEST = hashlib.sha256(Path(answering.__file__).read_bytes()).hexdigest()
"""Of the code that a registered model brings: another code is another version."""


@dataclass(frozen=True, kw_only=True)
class Standing:
    """Which alias a version gets.

    Attributes:
        alias: ``CHAMPION`` or ``CANDIDATE``.
        reason: Why it is not the champion, or empty.
    """

    alias: str = CHAMPION
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Registry:
    """The tracking store, seen from the trial whose model is registered.

    Attributes:
        client: A connected client.
        uri: The store's address.
        run: The trial's own run.
        name: The registered model's name, which is the study's.
        tags: What tells the trial's version from others.
        facts: What versions are compared by: the study's run, its data, metric and validation.
        maximizes: Whether a larger value of the metric is better.
        finished: Whether the study's best trials were compared and tested.
        chosen: Whether a person chose the trial in the winner's place.
    """

    client: MlflowClient
    uri: str
    run: Run
    name: str
    tags: Mapping[str, str]
    facts: Mapping[str, str]
    maximizes: bool
    finished: bool
    chosen: bool

    def find_version(self) -> ModelVersion | None:
        """Find the version that an earlier export of the same trial and weights registered.

        Returns:
            The newest one, or ``None``.

        Raises:
            TrackingError: If the store does not answer; ServiceAway if it is a server.
        """
        with translate_errors(self.uri):
            versions = self.client.search_model_versions(f"name = '{self.name}'")
        same = [version for version in versions if self.tags.items() <= version.tags.items()]
        return max(same, key=lambda version: int(version.version), default=None)

    def fetch(self, version: ModelVersion, folder: Path) -> Path:
        """Copy a version's files.

        Args:
            version: The version.
            folder: A new folder to copy them into.

        Returns:
            The folder that holds them.

        Raises:
            StudyError: If the store has the version and not its files, or others, of which
                MLflow would run what they name.
        """
        try:
            place = self.client.get_model_version_download_uri(self.name, version.version)
            copy = mlflow.artifacts.download_artifacts(
                place, dst_path=str(folder), tracking_uri=self.uri
            )
        except (MlflowException, OSError) as exc:
            raise StudyError(
                f"The registered model must have its files: {str(exc).splitlines()[0].rstrip('.')}. "
                f"Received: version {version.version} of {self.name!r}. Delete that version in "
                f"MLflow and export again."
            ) from None
        package = Path(copy)
        # Compiled by whoever loaded the store's own files: nothing of it is known to be ours.
        for cache in [*package.rglob("__pycache__")]:
            shutil.rmtree(cache)
        known = _hash_files(package) == version.tags.get(PACKAGE)
        # Whoever may write the files may write the version's tags too.
        if not known or not _has_our_code(package) or not _runs_our_code(package):
            raise StudyError(
                f"The registered model must have the files that it was registered with. Received: "
                f"others in version {version.version} of {self.name!r}. Delete that version in "
                f"MLflow and export again."
            )
        return package

    def register(self, package: Path, winner: Winner) -> ModelVersion:
        """Upload a model under the trial's run and make it a version of the registered model.

        By the client alone: MLflow's ``start_run`` would change the run's status and end.

        Args:
            package: The folder of the registered model.
            winner: The trial.

        Returns:
            The new version.

        Raises:
            TrackingError: If the store did not take it.
        """
        metric = winner.config.objective.metric
        with translate_errors(self.uri):
            logged = self._upload(package, winner)
            if not self.client.search_registered_models(f"name = '{self.name}'"):
                self.client.create_registered_model(self.name, {STUDY: self.name})
            version = self.client.create_model_version(
                self.name,
                logged.artifact_location,  # models:/ID would be looked up in a global store
                run_id=self.run.info.run_id,
                tags={**self.tags, **self.facts, PACKAGE: _hash_files(package)},
                description=f"Trial {winner.row.number} of study {self.name}: {metric} "
                f"{winner.row.value:.4f} on validation in the search."
                + (" Trained again on validation too." if winner.refit else "")
                + (f" Mean of {len(winner.members)} trials." if winner.members[1:] else ""),
                model_id=logged.model_id,
            )
            # As MLflow's own register_model does: the model's page names its versions by this tag.
            named = json.dumps([{"name": self.name, "version": version.version}])
            self.client.set_logged_model_tags(logged.model_id, {MLFLOW_MODEL_VERSIONS: named})
        return version

    def update(self, version: ModelVersion) -> None:
        """Let a version that an earlier export registered tell what is known by now.

        Args:
            version: The version, of the same trial and weights.

        Raises:
            TrackingError: If the store did not take it.
        """
        with translate_errors(self.uri):
            for name, value in self.facts.items():
                if version.tags.get(name) != value:
                    self.client.set_model_version_tag(self.name, version.version, name, value)

    def compare(self) -> Standing:
        """Compare the trial's version with the champion that there is.

        A study's own later decision stands before its earlier one. Another study of the same name
        has to have been better on the same data, by the same metric.

        Returns:
            The alias that the version gets, and why it is not the champion.

        Raises:
            TrackingError: If the store does not answer; ServiceAway if it is a server.
        """
        if self.chosen:
            return Standing(
                alias=CANDIDATE,
                reason="a person chose this trial; it was neither trained again nor tested.",
            )
        if not self.finished:
            return Standing(
                alias=CANDIDATE,
                reason="the study is not finished: its best trials were not compared, nor tested.",
            )
        with translate_errors(self.uri):
            models = self.client.search_registered_models(f"name = '{self.name}'")
            number = models[0].aliases.get(CHAMPION) if models else None
            if number is None:
                return Standing()
            held = self.client.get_model_version(self.name, number)
        if held.tags.get(STUDY_RUN) == self.facts[STUDY_RUN]:
            return Standing()
        reason = self._find_reason(held.tags)
        if not reason:
            return Standing()
        return Standing(alias=CANDIDATE, reason=f"version {number} stays {CHAMPION}: {reason}")

    def crown(self, version: ModelVersion, alias: str) -> None:
        """Give a version its alias.

        Args:
            version: The version.
            alias: What ``compare`` said.

        Raises:
            TrackingError: If the store did not take it.
        """
        with translate_errors(self.uri):
            held = self.client.get_registered_model(self.name).aliases
            if alias == CHAMPION and str(held.get(CANDIDATE)) == str(version.version):
                self.client.delete_registered_model_alias(self.name, CANDIDATE)
            self.client.set_registered_model_alias(self.name, alias, version.version)

    def _find_reason(self, held: Mapping[str, str]) -> str:
        """Say why a version of another study stands before this one, or nothing."""
        mine = self.facts
        if held.get(FINGERPRINT) != mine[FINGERPRINT]:
            return "it is of other data."
        if held.get(METRIC) != mine[METRIC]:
            return f"it was chosen by another metric, {held.get(METRIC)}."
        theirs, own = float(held[VALUE]), float(mine[VALUE])
        if (own > theirs) if self.maximizes else (own < theirs):
            return ""
        return f"its {mine[METRIC]} on validation is {theirs:.4f}, and this one's {own:.4f}."

    def _upload(self, package: Path, winner: Winner) -> LoggedModel:
        run_id = self.run.info.run_id
        logged = self.client.create_logged_model(
            self.run.info.experiment_id,
            name=self.name,
            source_run_id=run_id,
            params={name: str(value) for name, value in winner.row.parameters.items()},
        )
        model = Model.load(package)
        model.model_id = model.model_uuid = logged.model_id
        model.run_id, model.artifact_path = run_id, logged.artifact_location
        model.save(package / "MLmodel")
        self.client.log_model_artifacts(logged.model_id, str(package))
        self.client.finalize_logged_model(logged.model_id, "READY")
        output = LoggedModelOutput(logged.model_id, step=winner.members[0].epochs - 1)
        self.client.log_outputs(run_id, [output])
        return logged


def _hash_files(package: Path) -> str:
    """Hash names and contents of what MLflow loads of a registered model.

    Beside it MLflow keeps files of its own, and adds one when it loads a model by its alias.
    """
    digest = hashlib.sha256()
    found = [path for name in LOADED for path in (package / name, *(package / name).rglob("*"))]
    for path in sorted(path for path in found if path.is_file()):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"{content}  {path.relative_to(package).as_posix()}\n".encode())
    return digest.hexdigest()


def _has_our_code(package: Path) -> bool:
    """Whether a registered model brings the code that is known here, and nothing else."""
    found = {path.name: path for path in (package / "code").rglob("*")}
    reader = found.get(f"{LOADER}.py")
    if reader is None or len(found) > 1:
        return False
    return hashlib.sha256(reader.read_bytes()).hexdigest() == READER_DIGEST


def _runs_our_code(package: Path) -> bool:
    """Whether MLflow would run the code that a registered model brings, and nothing else."""
    try:
        flavor = Model.load(package).flavors[FLAVOR_NAME]
        said = {name: value for name, value in flavor.items() if name not in DESCRIBED}
    except Exception:  # noqa: BLE001 - a file of somebody else's may break MLflow's reading in any way
        return False
    return said == RUN and not flavor.get("streamable")


def open_registry(winner: Winner, folder: Path, uri: str | None) -> Registry:
    """Connect to the tracking store and find the trial's run.

    Args:
        winner: The trial.
        folder: The storage folder.
        uri: Address of the MLflow store; ``None`` for the folder's own.

    Returns:
        The store.

    Raises:
        StudyError: If the store has no such study or trial.
        TrackingError: If the store cannot be opened; ServiceAway if it is a server that does not answer.
    """
    name, address = winner.config.name, store_uri(uri, folder)
    client = open_client(address)
    trial = f"{winner.row.number:03d}"
    with translate_errors(address):
        study = find_study(client, name, winner.config.tracking.project)
        words = {STUDY: name, TRIAL: trial}
        runs = search_runs(client, [study.experiment_id], {KIND: "trial", **words})
        trained = {KIND: "refit", LOOK: str(winner.looks), **words}
        refits = search_runs(client, [study.experiment_id], trained) if winner.refit else []
    if not runs:
        raise StudyError(
            f"tracking.uri must be the store that the study was tracked in. Received: no run of "
            f"trial {winner.row.number} of {name!r}."
        )
    tags = {STUDY: name, TRIAL: trial, DIGEST: winner.digest, READER: READER_DIGEST}
    facts = {
        STUDY_RUN: study.run_id,
        FINGERPRINT: winner.card.fingerprint,
        METRIC: winner.config.objective.metric,
        VALUE: repr(winner.value),
    }
    if refits:
        facts[TRAINED_BY] = refits[0].info.run_id
    return Registry(
        client=client,
        uri=address,
        run=runs[0],
        name=name,
        tags=tags,
        facts=facts,
        maximizes=study.direction == "maximize",
        finished=bool(winner.test),
        chosen=winner.chosen,
    )
