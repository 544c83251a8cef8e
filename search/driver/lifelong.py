"""What a study keeps for life: settings and data, noted when it is begun, checked when it goes on."""

from collections.abc import Mapping, Sequence
from typing import Any

from search.config import StudyConfig
from search.data.sequences import SequenceData
from search.driver.tracking.tracker import Tracker
from search.driver.trials import Trials
from search.errors import StudyError
from search.tasks import Baseline

LIFELONG = (
    "space",
    "space_arguments",
    "seed",
    "split",
    "task",
    "sequence_length",
    "objective",
    "training",
    "limits",
)
"""Settings that a study keeps for life: with others its trials could not be compared."""


def check_same(notes: Mapping[str, Any], config: StudyConfig, fingerprint: str) -> None:
    """Check that a study is continued as it was begun.

    Args:
        notes: What is noted of the study; nothing if it is new.
        config: What it is launched with now.
        fingerprint: The fingerprint of the data now.

    Raises:
        StudyError: If a lifelong setting or the data are others.
    """
    if "config" not in notes:
        return
    advice = f"Give this study another name than {config.name!r}, or launch it as it was."
    now = config.model_dump(mode="json")
    for section in LIFELONG:
        if notes["config"][section] != now[section]:
            raise StudyError(
                f"{section} must stay as the study was begun: with other settings its trials "
                f"could not be compared. Received: {now[section]!r}, begun with "
                f"{notes['config'][section]!r}. {advice}"
            )
    project = notes["config"]["tracking"]["project"]
    if config.tracking.project != project:
        raise StudyError(
            f"tracking.project must stay as the study was begun: its runs stand there. Received: "
            f"{config.tracking.project!r}, begun with {project!r}. {advice}"
        )
    if notes["fingerprint"] != fingerprint:
        raise StudyError(
            f"data must stay as the study was begun: with other data its trials could not be "
            f"compared. Received: fingerprint={fingerprint[:16]!r}, begun with "
            f"{notes['fingerprint'][:16]!r}. {advice}"
        )


def note_study(
    trials: Trials,
    tracker: Tracker,
    config: StudyConfig,
    data: SequenceData,
    baselines: Sequence[Baseline],
) -> None:
    """Note on a new study what later launches and exports must know.

    Args:
        trials: The study's trials.
        tracker: Where its baselines are shown.
        config: The study.
        data: Its data.
        baselines: The naive baselines, scored on validation.
    """
    if "config" in trials.notes:
        return
    for baseline in baselines:
        tracker.log_baseline(baseline.name, baseline.validation)
    trials.note("fingerprint", data.card.fingerprint)
    trials.note("targets_hash", data.targets_hash("validation"))
    trials.note("baselines", {baseline.name: dict(baseline.validation) for baseline in baselines})
    # Last: a study with this note has the others too.
    trials.note("config", config.model_dump(mode="json", exclude={"tracking": {"uri"}}))
