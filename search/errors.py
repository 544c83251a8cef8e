"""The error tree, sorted by who has to act.

* SearchError
  x ConfigError       the study file is wrong: edit it
  x DataError         the data do not fit the config: edit either
  x CandidateError    this candidate is unusable: its trial ends, the study goes on
    - InvalidArchitecture
    - OversizedModel
    - DivergedTraining
    - OutOfMemory
    - OvertimeTraining
  x TrackingError     the tracking store cannot be opened, or refused something: the message says which
  x StudyError        the study cannot be opened, continued or exported: the message says why
  x ServiceAway       its database, the cluster or the tracking store does not answer any more: launch the study again when it does
  x StudyStopped      too many failures in a row: look at the last one
"""

import difflib
import re
from collections.abc import Iterable


class SearchError(Exception):
    """The root of every error that is meant for the person who runs a study."""


class ConfigError(SearchError):
    """The study file or command line is wrong: edit it."""


class DataError(SearchError):
    """The data do not fit the study file: edit either."""


class CandidateError(SearchError):
    """This candidate is unusable: its trial ends, the study goes on."""


class InvalidArchitecture(CandidateError):
    """The hyperparameters describe a model that cannot be built."""


class OversizedModel(CandidateError):
    """The model has more parameters than ``limits`` allows, or takes longer for a prediction."""


class DivergedTraining(CandidateError):
    """The loss or the objective stopped being a finite number."""


class OutOfMemory(CandidateError):
    """The device could not hold the model or a batch."""


class OvertimeTraining(CandidateError):
    """One epoch would surely take longer than ``training.max_seconds`` allows for the whole trial."""


class TrackingError(SearchError):
    """The tracking store cannot be opened, or refuses what it is told: fix its address, or its settings."""


class StudyError(SearchError):
    """The study cannot be opened, continued or exported."""


class ServiceAway(SearchError):
    """What the study needs beside this machine does not answer: launch the study again when it does."""


class StudyStopped(SearchError):
    """Too many trials failed in a row: look at the last one."""


def nearest(word: str, known: Iterable[str]) -> str:
    """Write the sentence that names what could be meant instead.

    Args:
        word: What was received.
        known: What would have been accepted.

    Returns:
        "Did you mean 'x'?" where something is near, else "Known: x, y."
    """
    names = sorted(known)
    matches = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    if matches:
        return f"Did you mean {matches[0]!r}?"
    return f"Known: {', '.join(names)}."


def hide_credentials(text: str) -> str:
    """Take user names, passwords and tokens out of every address in a text."""
    text = re.sub(r"//[^/\s]*@", "//", text)
    return re.sub(r"(?i)(password|token|key|secret)=[^&\s'\"]+", r"\1=...", text)
