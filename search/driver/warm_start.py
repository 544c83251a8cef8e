"""What earlier studies found becomes the first candidates of a new one."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import optuna

from search.config import SamplerConfig
from search.driver.leaderboard import rank
from search.driver.mirror import MirroredStorage
from search.driver.objectives import open_study
from search.driver.optimization import holds
from search.driver.trials import WARM, Trials, read_row
from search.errors import ConfigError, nearest
from search.messages import Listed, Parameters, Scalar

PROJECT = "oracle.json"
"""What every folder of a KerasTuner project has."""
OWN = "tuner/"
"""How KerasTuner's names begin that are no hyperparameters."""


@dataclass(frozen=True, kw_only=True)
class Known:
    """A candidate that an earlier study found to be good.

    Attributes:
        source: The study, or the KerasTuner project.
        parameters: Its hyperparameters.
    """

    source: str
    parameters: Parameters


def read_known(config: SamplerConfig, storage: MirroredStorage) -> list[Known]:
    """Read the best candidates of the sources that ``sampler.warm_start`` names.

    Args:
        config: The sampler.
        storage: Optuna's store.

    Returns:
        The best distinct candidates of each source, best first.

    Raises:
        ConfigError: If a source is neither a study nor a project, or has nothing to offer.
    """
    return [one for source in config.warm_start for one in _read(source, config, storage)]


def _read(source: str, config: SamplerConfig, storage: MirroredStorage) -> list[Known]:
    if storage.holds(source):
        ranked = _rank_study(source, storage)
    elif (Path(source) / PROJECT).is_file():
        ranked = _rank_project(Path(source))
    else:
        raise ConfigError(
            f"sampler.warm_start must name studies of this storage folder, or folders of KerasTuner "
            f"projects, which hold {PROJECT}. Received: {source!r}. "
            f"{nearest(source, optuna.get_all_study_names(storage))}"
        )
    best: dict[str, Known] = {}
    for one in ranked:
        if len(best) < config.warm_candidates:
            best.setdefault(json.dumps(one.parameters, sort_keys=True), one)
    if not best:
        raise ConfigError(
            f"sampler.warm_start must name what has a complete trial. Received: {source!r}, which has "
            f"none."
        )
    return list(best.values())


def _rank_study(name: str, storage: MirroredStorage) -> list[Known]:
    study = open_study(name, storage)
    rows = rank(map(read_row, study.get_trials(deepcopy=False)), study.direction.name.lower())
    return [Known(source=name, parameters=row.parameters) for row in rows]


def _rank_project(folder: Path) -> list[Known]:
    """Rank the completed trials of a KerasTuner project, as its tuners write them."""
    found: list[tuple[float, Known]] = []
    for path in sorted(folder.glob("trial_*/trial.json")):
        try:
            told = json.loads(path.read_text(encoding="utf-8"))
            if told["status"] != "COMPLETED":
                continue
            score, sign = float(told["score"]), _find_sign(told)
            values = told["hyperparameters"]["values"].items()
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as exc:
            raise ConfigError(
                f"sampler.warm_start must name a KerasTuner project whose trials can be read: "
                f"{type(exc).__name__}: {exc}. Received: {str(path)!r}."
            ) from None
        own = {name: value for name, value in values if not name.startswith(OWN)}
        found.append((sign * score, Known(source=str(folder), parameters=own)))
    return [known for _, known in sorted(found, key=lambda one: -one[0])]


def _find_sign(told: Mapping[str, Any]) -> float:
    """Tell whether a trial's score is the better the greater: by the metric whose best value it is.

    Raises:
        ValueError: If it is no metric's.
    """
    for metric in told["metrics"]["metrics"].values():
        values = [fmean(one["value"]) for one in metric["observations"]]
        best = {"max": max, "min": min}[metric["direction"]](values)
        if math.isclose(best, told["score"]):
            return 1.0 if metric["direction"] == "max" else -1.0
    raise ValueError(f"no metric has the score {told['score']}")


def begin_trials(trials: Trials, known: Sequence[Known], listing: tuple[Listed, ...]) -> list[str]:
    """Queue a study's first candidates: the defaults, then what earlier studies found.

    What they found is noted as the study is begun, so that it stays the same.

    Args:
        trials: The study's.
        known: What earlier studies found.
        listing: What the default candidate asks for.

    Returns:
        What a person should know of them.

    Raises:
        ConfigError: As ``Trials.begin``.
    """
    noted = trials.notes.get(WARM, {"named": [], "candidates": []})
    named = sorted({one.source for one in known})
    candidates, lacking = fit_candidates(known, listing)
    if noted["named"] == named:
        candidates, lacking = noted["candidates"], set()
    else:
        trials.note(WARM, {"named": named, "candidates": candidates})
    trials.begin(listing, candidates)
    return [
        f"what sampler.warm_start found has nothing, or nothing that this space admits, for {name}, "
        f"which is suggested."
        for name in sorted(lacking)
    ]


def fit_candidates(
    known: Sequence[Known], listing: Sequence[Listed]
) -> tuple[list[dict[str, Scalar]], set[str]]:
    """Keep of known candidates what a space admits.

    Args:
        known: What earlier studies found.
        listing: What the space's default candidate asks for.

    Returns:
        Distinct hyperparameters, and the names for which one of the candidates has no value that
        may be answered.
    """
    domains = {listed.name: listed.domain for listed in listing}
    defaults = {listed.name: listed.default for listed in listing}  # which are tried anyway
    candidates: list[dict[str, Scalar]] = []
    lacking: set[str] = set()
    for one in known:
        own = {
            name: value
            for name, value in one.parameters.items()
            if name in domains and holds(domains[name], value)
        }
        lacking |= domains.keys() - own.keys()
        if own and own not in [defaults, *candidates]:
            candidates.append(own)
    return candidates, lacking
