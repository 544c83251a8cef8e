"""A study is launched: its workers' libraries load in a process of their own while the driver's do."""

import importlib
from typing import TYPE_CHECKING

from search.config import StudyConfig
from search.driver.executors.starting import preload
from search.driver.folders import log_path, make_folder

if TYPE_CHECKING:
    from search.driver.progress import View
    from search.driver.study import StudySummary


def run_study(config: StudyConfig, view: "View | None" = None) -> "StudySummary":
    """Run a study to the end of its budget, or continue it.

    Args:
        config: The study; its name decides whether one is begun or continued.
        view: What the person sees; by default a live panel on a terminal, plain lines elsewhere.

    Returns:
        The trials, the best of them, and its one score on the test targets.

    Raises:
        SearchError: As ``search.driver.study.run_study`` lists.
        KeyboardInterrupt: After a second Ctrl-C, or one before the first trial.
    """
    if config.workers.executor == "processes":
        preload(log_path(make_folder(config.storage.folder), config.name))
    summary: StudySummary = importlib.import_module("search.driver.study").run_study(config, view)
    return summary
