"""A study's runs as a page of the MLflow UI: which study, which columns, which link."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from mlflow import MlflowClient
from mlflow.entities import Run

from search.driver.tracking.store import (
    DIRECTION,
    KIND,
    STUDY,
    open_client,
    search_runs,
    translate_errors,
)
from search.errors import StudyError, hide_credentials, nearest

_SECTION = "lookback"
_MOST = 8
"""Hyperparameters that fit side by side."""
_COLUMNS = ("attributes.`Description`", "metrics.`objective`", "tags.`outcome`")


@dataclass(frozen=True, kw_only=True)
class StudyRun:
    """A study as MLflow holds it.

    Attributes:
        name: The study's name.
        experiment_id: The experiment that holds it.
        run_id: Its own run, the parent of its trials.
        direction: "maximize" or "minimize".
        metric: The objective's name.
    """

    name: str
    experiment_id: str
    run_id: str
    direction: str
    metric: str


def link_study(name: str | None, uri: str, address: str, project: str | None = None) -> str:
    """Prepare a study's view and link to it.

    Args:
        name: The study's name; ``None`` for the one that was begun last.
        uri: Address of its MLflow store.
        address: Where the MLflow UI answers, for example "http://127.0.0.1:5000".
        project: The study file's ``tracking.project``; ``None`` to look in all.

    Returns:
        The study's name and an address for a browser, without the credentials of ``address``.

    Raises:
        StudyError: If there is no such study.
        TrackingError: If the store cannot be opened; ServiceAway if it is a server that does not answer.
    """
    client = open_client(uri)
    study = find_study(client, name, project)
    prepare_view(client, study)
    return f"Study {study.name}: {study_link(hide_credentials(address), study)}"


def find_study(
    client: MlflowClient, name: str | None = None, project: str | None = None
) -> StudyRun:
    """Find a study in a store, which other people's studies of that name may share.

    Args:
        client: A connected client.
        name: The study's name; ``None`` for the one that was begun last.
        project: The experiment that holds it; ``None`` to look in all.

    Returns:
        Where the study is.

    Raises:
        StudyError: If there is no such study.
        TrackingError: If the store does not answer; ServiceAway if it is a server.
    """
    with translate_errors(client.tracking_uri):
        experiment_ids = [
            experiment.experiment_id
            for experiment in client.search_experiments()
            if project in (None, experiment.name)
        ]
        runs = search_runs(client, experiment_ids, {KIND: "study"})
    if not runs:
        raise StudyError("The tracking store must hold a study, and it is empty. Launch one first.")
    names = [run.data.tags[STUDY] for run in runs]
    if name is not None and name not in names:
        raise StudyError(
            f"study must name a study of this store. Received: study={name!r}. {nearest(name, names)}"
        )
    run = runs[0 if name is None else names.index(name)]
    return StudyRun(
        name=run.data.tags[STUDY],
        experiment_id=run.info.experiment_id,
        run_id=run.info.run_id,
        direction=run.data.tags.get(DIRECTION, "minimize"),
        metric=run.data.params.get("objective.metric", ""),
    )


def prepare_view(client: MlflowClient, study: StudyRun) -> None:
    """Store the view that ``study_link`` opens: the study's trials, sorted, with their parameters.

    Its page of charts shows their learning curves, the objective of each, the objective by size, and
    the hyperparameters side by side. The format is that of MLflow 3.17's "share" button, which keeps a view as an experiment tag.

    Args:
        client: A connected client.
        study: The study to show.

    Raises:
        TrackingError: If the store does not take it.
    """
    tags = {KIND: "trial", STUDY: study.name}
    with translate_errors(client.tracking_uri):
        trials = search_runs(client, [study.experiment_id], tags)
    view = {
        "searchFilter": " and ".join(f"tags.`{name}` = '{value}'" for name, value in tags.items()),
        "orderByKey": "metrics.`objective`",
        "orderByAsc": study.direction == "minimize",
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "runsHiddenMode": "SHOW_ALL",
        "groupBy": None,
        "selectedColumns": [*_COLUMNS, *(f"params.`{name}`" for name in _name_parameters(trials))],
        "compareRunSections": [{"uuid": _SECTION, "name": "Study", "display": True}],
        "compareRunCharts": list(_choose_charts(study, trials)),
        "isAccordionReordered": True,
    }
    with translate_errors(client.tracking_uri):
        client.set_experiment_tag(study.experiment_id, f"mlflow.{_share(study)}", json.dumps(view))


def study_link(address: str, study: StudyRun) -> str:
    """Write the link to a study's trials.

    Args:
        address: Where the MLflow UI answers, for example "http://127.0.0.1:5000".
        study: The study, whose view was prepared.

    Returns:
        An address for a browser.
    """
    words = {
        # Without this MLflow opens its pages for language models.
        "workflowType": "machine_learning",
        "compareRunsMode": "TABLE",
        "viewStateShareKey": _share(study).partition(".")[2],
    }
    return f"{address}/#/experiments/{study.experiment_id}/runs?{urlencode(words)}"


def _share(study: StudyRun) -> str:
    return f"sharedViewState.{study.run_id}"


def _choose_charts(study: StudyRun, trials: Sequence[Run]) -> Iterator[dict[str, Any]]:
    """Describe the charts of a study's trials, in the order in which the page shows them."""
    curve = f"val_{study.metric}" if study.metric else "objective"
    varied = [
        name
        for name in _name_parameters(trials)
        if len({trial.data.params.get(name) for trial in trials}) > 1
    ]
    charts: dict[str, dict[str, Any]] = {
        "LINE": {
            "metricKey": curve,
            "selectedMetricKeys": [curve],
            "xAxisKey": "step",
            "useGlobalXaxisKey": False,
            "useGlobalLineSmoothing": False,
        },
        "BAR": {"metricKey": "objective"},
        "SCATTER": {
            "xaxis": {"key": "parameter_count", "type": "METRIC"},
            "yaxis": {"key": "objective", "type": "METRIC"},
        },
        "PARALLEL": {
            "selectedParams": varied[:_MOST],
            "selectedMetrics": ["objective"],
            "showAllRuns": True,
        },
    }
    for kind, settings in charts.items():
        yield {
            "type": kind,
            "uuid": f"{_SECTION}-{kind}",
            "metricSectionId": _SECTION,
            "runsCountToCompare": 100,
            "deleted": False,
            "isGenerated": False,
            **settings,
        }


def _name_parameters(trials: Sequence[Run]) -> list[str]:
    """Name the parameters of all trials, in the order in which the candidates asked for them."""
    return list(dict.fromkeys(name for trial in trials for name in trial.data.params))
