"""The best trial of a study, as the stores hold it: nothing is trained here."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from search.config import StudyConfig, make_config
from search.data.sequences import SequenceCard, SequenceData
from search.driver.leaderboard import LEADERS, TrialRow, rank
from search.driver.trials import read_row
from search.errors import StudyError
from search.messages import Member
from search.results.studies import load_study

Scores = Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Winner:
    """The trial that a study chose, and all that is known of it.

    Attributes:
        config: The study.
        row: The trial.
        members: The trained candidates whose mean prediction is exported, the winner's first.
        refit: Whether they were trained on validation targets too.
        parameter_count: The weights of all members together.
        decision: How it was chosen among the best, as ``search.driver.decision.Decision``; empty
            where the search alone chose.
        trials: Trials that the study holds, of any outcome.
        data: Folder of the prepared data.
        card: What is known of the data.
        baselines: The naive baselines' metrics on validation.
        test: The members' metrics on the test targets; empty before the first look.
        test_baselines: The naive baselines' metrics on the test targets, likewise.
        looks: How often the study looked at the test targets.
        chosen: Whether a person chose it in the winner's place.
        digest: SHA-256 of the kept weights: the same trial and digest are the same model.
    """

    config: StudyConfig
    row: TrialRow
    members: tuple[Member, ...]
    refit: bool
    parameter_count: int
    decision: Mapping[str, Any]
    trials: int
    data: Path
    card: SequenceCard
    baselines: Mapping[str, Scores]
    test: Scores
    test_baselines: Mapping[str, Scores]
    looks: int
    chosen: bool
    digest: str

    @property
    def value(self) -> float:
        """What it is believed to score on validation: trained again, or else in the search."""
        means = self.decision.get("means", {})  # without those that failed when trained again
        mean = self.decision.get("together") or means.get(str(self.row.number))
        return float(mean["value"]) if mean else float(self.row.value or 0.0)


def load_winner(name: str, folder: Path, chosen: int | None = None) -> Winner:
    """Find the trial that a study chose: what the last look at the test targets was for.

    Before the first look it is the winner among the best, or else the best of the search.

    Args:
        name: The study's name.
        folder: The storage folder.
        chosen: The number of a complete trial that a person chose in its place, as of the front.

    Returns:
        The trial, with its weights and data at hand.

    Raises:
        ConfigError: If the study was begun by a version whose settings are others, or what talks to its
            database is not installed.
        ServiceAway: If that database does not answer.
        StudyError: If there is no such study, no complete trial, or its weights or data are gone.
    """
    study = load_study(name, folder)
    trials = study.get_trials(deepcopy=False)
    leaders = rank([read_row(trial) for trial in trials], study.direction.name.lower())
    if not leaders:
        raise StudyError(
            f"study must have a complete trial. Received: study={name!r}, with {len(trials)} "
            f"trials and none complete. Launch it with a larger --budget.trials."
        )
    notes = study.user_attrs
    data, card = _find_data(folder / "data" / notes["fingerprint"][:16], notes["fingerprint"])
    test = notes.get("test", {})
    by_number = {row.number: row for row in leaders}
    looked = [Member(**one) for one in test.get("members", [])]
    decision = notes.get("winner", {})
    if chosen is not None and chosen not in by_number:
        raise StudyError(
            f"trial must be the number of a complete trial. Received: {chosen}; complete, best first: "
            f"{', '.join(str(row.number) for row in leaders[:LEADERS])}."
        )
    instead = chosen is not None and [one.number for one in looked] != [chosen]
    if chosen is not None and instead:
        looked, decision = [], {"trial": chosen}  # those are of another trial
    if looked and decision.get("members") != [one.number for one in looked]:
        decision = {}  # of another launch, whose trials were not what was scored last
    best = by_number[looked[0].number if looked else decision.get("trial", leaders[0].number)]
    # Before the look there is no score to check a mean of several by.
    members = looked or [best.as_member()]
    if instead or decision.get("members", [best.number]) != [one.number for one in members]:
        decision = {}  # of a mean that is not what is exported yet
    return Winner(
        config=make_config(notes["config"]),
        row=best,
        members=tuple(members),
        refit=bool(looked) and test["refit"],
        parameter_count=sum(by_number[one.number].parameter_count or 0 for one in members),
        decision=decision,
        trials=len(trials),
        data=data,
        card=card,
        baselines=notes["baselines"],
        test=test["scores"] if looked else {},
        test_baselines=test["baselines"] if looked else {},
        looks=test.get("looks", 0),
        chosen=instead,
        digest=_hash_weights(members, name),
    )


def _find_data(folder: Path, fingerprint: str) -> tuple[Path, SequenceCard]:
    advice = "Launch the study again as it was: that prepares its data anew."
    if not folder.is_dir():
        raise StudyError(
            f"storage.folder must hold the study's prepared data. Received: {str(folder)!r}, which "
            f"is missing. {advice}"
        )
    card = SequenceData.load(folder).card
    if card.fingerprint != fingerprint:
        raise StudyError(
            f"storage.folder must hold the data that the study was begun with. Received: "
            f"fingerprint={card.fingerprint[:16]!r} in {str(folder)!r}, begun with "
            f"{fingerprint[:16]!r}. Remove that folder. {advice}"
        )
    return folder, card


def _hash_weights(members: Sequence[Member], name: str) -> str:
    digest = hashlib.sha256()
    for member in members:
        if not member.weights or not Path(member.weights).is_file():
            raise StudyError(
                f"storage.folder must hold the weights of the trial that is exported. Received: "
                f"study={name!r}, whose trial {member.number} has none: storage.kept_models says of how "
                f"many they are kept. Restore its weights file under checkpoints, or launch the study "
                f"under another name."
            )
        digest.update(Path(member.weights).read_bytes())
    return digest.hexdigest()
