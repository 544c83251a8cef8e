"""The same candidates through a study and through what people use today: peers.py --help.

Every contender trains the same candidates for the same epochs on the same clips, keeps every epoch in an
MLflow store of its own on SQLite that was made before, and is timed from the start of its process to its end: Lookback
with one worker and two, KerasTuner with an oracle that hands out the list, the loop over Optuna trials with a Keras
callback that documentation shows, and Ray Tune with two trials at once. The others get NumPy windows and models as
people write them: for clips, layers wrapped in TimeDistributed one by one. Nothing is pruned, and the search alone is
run. Rounds are interleaved; prints medians, and fails if a contender's store lacks an epoch. Ray needs
``scripts/run --extra cluster``.
"""

import argparse
import importlib.metadata
import importlib.util
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

HERE = Path(__file__).parent
CLIPS = {
    "sensor": {"shape": (128, 9), "classes": 6, "clips": 2500},
    "video": {"shape": (10, 48, 48, 3), "classes": 2, "clips": 200},
}
SPACES = {"sensor": "sensor", "video": "plain_frames:PlainFrames"}
ARGUMENTS: Mapping[str, Mapping[str, Any]] = {"sensor": {"linear_part": False}, "video": {}}
TASK = "task.json"
STORE = "mlflow.db"
PROJECT = "lookback"
LEFT_OUT = ("sequence_length", "motion", "linear_part")
"""Hyperparameters that every candidate has alike."""


def load_task(folder: Path) -> dict[str, Any]:
    """Read what a contender has to do."""
    task: dict[str, Any] = json.loads((folder / TASK).read_text())
    return task


def make_config(folder: Path, **sections: Any) -> Any:
    """Describe the study of the clips."""
    from cases import Case, make_study  # noqa: PLC0415  # not in what starts contenders

    task = load_task(folder)
    clips = CLIPS[task["family"]]
    case = Case(name=task["family"], space=SPACES[task["family"]], **clips)  # type: ignore[arg-type]
    words = {
        "space_arguments": ARGUMENTS[task["family"]],
        "training": {"max_epochs": task["epochs"], "patience": task["epochs"], "refit": False},
        "objective": {"metric": "accuracy"},
        "sampler": {"name": "random", "queue": task["candidates"]},
        "pruner": {"name": "none"},
        "budget": {"trials": len(task["candidates"]) + 1},
        "winner": {"repeats": 0},
        "storage": {"folder": folder},
        "tracking": {"project": PROJECT},
    }
    return make_study(case, folder.parent / "clips.npz", **{**words, **sections})


def draw_candidates(folder: Path, count: int, seed: int) -> list[dict[str, Any]]:
    """Draw candidates at random from the space."""
    import optuna  # noqa: PLC0415

    from search.data.preparation import prepare_data  # noqa: PLC0415
    from search.driver.optimization import suggest  # noqa: PLC0415
    from search.messages import WorkerSetup  # noqa: PLC0415
    from search.worker.hyperparameters import AskingHyperParameters  # noqa: PLC0415
    from search.worker.workbench import Workbench  # noqa: PLC0415

    config = make_config(folder)
    _, data = prepare_data(config, folder / "data")
    bench = Workbench(WorkerSetup(config=config, data=data, weights=folder, log=folder / "log"))
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    drawn = []
    for _ in range(count):
        trial = study.ask()
        hp = AskingHyperParameters(
            ask=lambda one, trial=trial: suggest(trial, one.name, one.domain)
        )
        bench.build(hp, seed=0)
        drawn.append({name: v for name, v in hp.values.items() if name not in LEFT_OUT})
    return drawn


def run_ours(folder: Path, workers: int) -> None:
    """Run the study."""
    from search import run_study  # noqa: PLC0415

    run_study(make_config(folder, workers={"count": workers}))


class Others:
    """What every other contender has: windows in memory, the candidates, and a builder of plain models."""

    def __init__(self, folder: Path) -> None:
        import mlflow  # noqa: PLC0415
        import numpy as np  # noqa: PLC0415

        task = load_task(folder)
        self.folder = folder
        self.family, self.epochs = task["family"], task["epochs"]
        self.candidates: list[dict[str, Any]] = [{}, *task["candidates"]]
        self.uri = f"sqlite:///{folder / STORE}"
        with np.load(folder.parent / "sides.npz") as arrays:
            self.train = arrays["x_train"], arrays["y_train"]
            self.held = arrays["x_validation"], arrays["y_validation"]
        mlflow.set_tracking_uri(self.uri)
        mlflow.set_experiment(PROJECT)

    def build(self, hp: Any) -> Any:
        """Build the candidate that ``hp`` answers for, as people write it."""
        from plain_frames import PlainFrames  # noqa: PLC0415
        from plain_layers import wrap_layers  # noqa: PLC0415

        from spaces.sensor import Sensor  # noqa: PLC0415

        make = Sensor if self.family == "sensor" else PlainFrames
        space = make(
            self.train[0].shape[1:],
            (CLIPS[self.family]["classes"],),
            "classification",
            targets=len(self.train[0]),
            epochs=self.epochs,
            **ARGUMENTS[self.family],
        )
        model = space.build(hp)
        return wrap_layers(model) if self.family == "video" else model

    def fix(self, number: int) -> Any:
        """Make hyperparameters that answer by a candidate of the list, and by the space's defaults."""
        import keras_tuner  # noqa: PLC0415

        hp = keras_tuner.HyperParameters()
        hp.values.update(self.candidates[number])
        return hp

    def fit(self, model: Any, hp: Any, callbacks: Sequence[Any]) -> Any:
        """Train a candidate."""
        return model.fit(
            *self.train,
            batch_size=hp.get("batch_size"),
            epochs=self.epochs,
            validation_data=self.held,
            callbacks=list(callbacks),
            verbose=0,
        )

    def make_logger(self) -> Any:
        """Make a callback that logs every epoch to the active run, as people write it."""
        import keras  # noqa: PLC0415
        import mlflow  # noqa: PLC0415

        class Log(keras.callbacks.Callback):
            def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
                mlflow.log_metrics(logs, step=epoch)

        return Log()


def run_keras_tuner(folder: Path) -> None:
    """Search by KerasTuner's own tuner, whose oracle hands out the list."""
    import keras_tuner  # noqa: PLC0415
    import mlflow  # noqa: PLC0415

    others = Others(folder)
    waiting = list(others.candidates)

    class Listing(keras_tuner.Oracle):
        def populate_space(self, trial_id: str) -> dict[str, Any]:
            if not waiting:
                return {"status": "STOPPED"}
            return {"status": "RUNNING", "values": waiting.pop(0)}

    class Space(keras_tuner.HyperModel):
        def build(self, hp: Any) -> Any:
            return others.build(hp)

        def fit(self, hp: Any, model: Any, callbacks: Sequence[Any], **_: Any) -> Any:
            with mlflow.start_run():
                mlflow.log_params(hp.values)
                return others.fit(model, hp, [*callbacks, others.make_logger()])

    tuner = keras_tuner.Tuner(
        oracle=Listing(
            objective=keras_tuner.Objective("val_accuracy", "max"), max_trials=len(waiting)
        ),
        hypermodel=Space(),
        directory=str(folder / "tuner"),
    )
    tuner.search(verbose=0)


def run_optuna(folder: Path) -> None:
    """Loop over Optuna's trials by hand."""
    import keras  # noqa: PLC0415
    import mlflow  # noqa: PLC0415
    import optuna  # noqa: PLC0415

    others = Others(folder)

    def objective(trial: optuna.Trial) -> float:
        keras.utils.clear_session()
        hp = others.fix(trial.suggest_int("candidate", 0, len(others.candidates) - 1))
        model = others.build(hp)
        with mlflow.start_run():
            mlflow.log_params(hp.values)
            history = others.fit(model, hp, [others.make_logger()])
        return float(max(history.history["val_accuracy"]))

    storage = f"sqlite:///{folder / 'optuna.db'}"
    study = optuna.create_study(storage=storage, direction="maximize")
    for number in range(len(others.candidates)):
        study.enqueue_trial({"candidate": number})
    study.optimize(objective, n_trials=len(others.candidates))


def run_ray(folder: Path) -> None:
    """Have Ray Tune train two candidates at once, with one core each."""
    import keras  # noqa: PLC0415
    import ray  # noqa: PLC0415
    from ray import tune  # noqa: PLC0415
    from ray.air.integrations.mlflow import MLflowLoggerCallback  # noqa: PLC0415

    others = Others(folder)
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    arrays = {"train": others.train, "held": others.held}

    def train(config: Mapping[str, Any], train: Any, held: Any) -> None:
        sys.path.insert(0, str(HERE))
        others = Others(folder)
        others.train, others.held = train, held
        hp = others.fix(config["candidate"])

        class Report(keras.callbacks.Callback):
            def on_epoch_end(self, epoch, logs=None):  # type: ignore[no-untyped-def]  # Ray carries no names of annotations
                tune.report(dict(logs))

        others.fit(others.build(hp), hp, [Report()])

    tuner = tune.Tuner(
        tune.with_resources(tune.with_parameters(train, **arrays), {"cpu": 1}),
        param_space={"candidate": tune.grid_search(list(range(len(others.candidates))))},
        tune_config=tune.TuneConfig(metric="val_accuracy", mode="max", max_concurrent_trials=2),
        run_config=tune.RunConfig(
            storage_path=str(folder / "ray"),
            verbose=0,
            callbacks=[MLflowLoggerCallback(tracking_uri=others.uri, experiment_name=PROJECT)],
        ),
    )
    results = tuner.fit()
    if results.errors:
        raise results.errors[0]


CONTENDERS: Mapping[str, Callable[[Path], None]] = {
    "lookback, 2 workers": lambda folder: run_ours(folder, 2),
    "lookback, 1 worker": lambda folder: run_ours(folder, 1),
    "KerasTuner": run_keras_tuner,
    "Optuna loop": run_optuna,
    "Ray Tune": run_ray,
}


def write_sides(folder: Path) -> None:
    """Write the windows of the study's sides for those who have no splits: all train on the same."""
    import numpy as np  # noqa: PLC0415

    from search.data.preparation import prepare_data  # noqa: PLC0415

    data, _ = prepare_data(make_config(folder), folder / "data")
    length = CLIPS[load_task(folder)["family"]]["shape"][0]  # type: ignore[index]
    arrays = {}
    for side in ("train", "validation"):
        arrays[f"x_{side}"] = data.windows(side, length)
        arrays[f"y_{side}"] = data.labels(side)
    np.savez(folder.parent / "sides.npz", **arrays)


def count_epochs(store: Path) -> int:
    """Count the epochs that a store has of all runs' training loss."""
    from mlflow import MlflowClient  # noqa: PLC0415

    client = MlflowClient(f"sqlite:///{store}")
    experiment = client.get_experiment_by_name(PROJECT)
    runs = client.search_runs([experiment.experiment_id])
    names = ("train_loss", "loss")
    return sum(
        len(client.get_metric_history(run.info.run_id, name))
        for run in runs
        for name in names
        if name in run.data.metrics
    )


def prepare(folder: Path, arguments: argparse.Namespace) -> None:
    """Write clips, candidates, windows and an empty store, once for all."""
    from cases import Case, write_clips  # noqa: PLC0415

    from search.driver.tracking.store import make_store  # noqa: PLC0415

    place = folder / "prepared"
    place.mkdir()
    family = arguments.family
    write_clips(Case(name=family, space=family, **CLIPS[family]), folder)  # type: ignore[arg-type]
    task = {"family": family, "epochs": arguments.epochs, "candidates": []}
    (place / TASK).write_text(json.dumps(task))
    drawn = draw_candidates(place, arguments.candidates - 1, arguments.seed)
    (folder / TASK).write_text(json.dumps({**task, "candidates": drawn}))
    write_sides(place)
    make_store(folder / STORE)


def run_apart(words: Sequence[str]) -> float:
    """Run this file in a process of its own, and return the seconds it took."""
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, __file__, *words], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{words} failed:\n{done.stderr[-4000:]}")
    return time.perf_counter() - began


def contend(name: str, folder: Path, number: int, epochs: int) -> float:
    """Have one contender train all candidates, and return the seconds it took."""
    place = folder / f"round_{number}"
    place.mkdir()
    for file in (TASK, STORE):
        (place / file).write_bytes((folder / file).read_bytes())
    seconds = run_apart(["--contend", name, "--folder", str(place)])
    found = count_epochs(place / STORE)
    if found != epochs:
        raise RuntimeError(f"{name} must keep {epochs} epochs in MLflow. Received: {found}.")
    return seconds


def main() -> int:
    """Run all contenders in turns, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--family", choices=sorted(CLIPS), default="sensor")
    parser.add_argument("--candidates", type=int, default=12)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--contend", choices=sorted(CONTENDERS), help=argparse.SUPPRESS)
    parser.add_argument("--prepare", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.contend:
        CONTENDERS[arguments.contend](arguments.folder)
        return 0
    if arguments.prepare:
        prepare(arguments.folder, arguments)
        return 0
    names = [one for one in CONTENDERS if one != "Ray Tune" or importlib.util.find_spec("ray")]
    seconds: dict[str, list[float]] = {name: [] for name in names}
    epochs = arguments.candidates * arguments.epochs
    with tempfile.TemporaryDirectory(prefix="peers-") as name:
        folder = Path(name)
        run_apart([*sys.argv[1:], "--prepare", "--folder", name])
        order = [(one, turn) for turn in range(arguments.rounds) for one in names]
        for number, (one, turn) in enumerate(order):
            seconds[one].append(contend(one, folder, number, epochs))
            print(f"round {turn}: {one}: {seconds[one][-1]:.1f} s", file=sys.stderr, flush=True)
    show(seconds, arguments)
    return 0


def show(seconds: Mapping[str, Sequence[float]], arguments: argparse.Namespace) -> None:
    """Print the table."""
    medians = {name: statistics.median(own) for name, own in seconds.items()}
    table = Table(box=None, pad_edge=False)
    for head in ("", "s", "candidates an hour", "/ lookback, 2 workers", "/ lookback, 1 worker"):
        table.add_column(head, justify="right" if head else "left")
    for name, own in medians.items():
        table.add_row(
            name,
            f"{own:.1f}",
            f"{3600 * arguments.candidates / own:,.0f}",
            *(f"{own / medians[ours]:.2f}" for ours in list(CONTENDERS)[:2]),
        )
    console = Console(width=120)
    console.print(table)
    installed = {"tensorflow", "keras", "keras-tuner", "optuna", "mlflow"}
    installed |= {"ray"} if "Ray Tune" in medians else set()
    versions = (f"{one} {importlib.metadata.version(one)}" for one in sorted(installed))
    console.print(f"{arguments.family}, {arguments.rounds} rounds; {', '.join(versions)}.")


if __name__ == "__main__":
    sys.exit(main())
