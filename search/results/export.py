"""The best model of a study becomes a folder that works alone, and a registered model."""

import hashlib
import importlib.util
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from filelock import FileLock

from search.errors import StudyError, hide_credentials
from search.results.answering import CHECKSUMS
from search.results.card import write_card
from search.results.comparison import Comparison
from search.results.formats import (
    ASKED,
    CARD,
    CONVERTED,
    FORMATS,
    HAS_TENSORFLOW,
    KERAS,
    REGISTERED,
    SAMPLES,
    TOLERANCES,
    Built,
    Checked,
    list_sizes,
)
from search.results.fresh import FreshProcess, ProcessFailed
from search.results.registry import open_registry
from search.results.winner import Winner, load_winner

BUILD = "search.results.building:build_model"
CHECK = "search.results.checking:check_formats"
CONVERT = "search.results.conversion:convert_model"
COMPARE = "search.results.comparison:compare_format"
CONVERSION_SECONDS = 600.0
"""An unrolled LSTM of many steps can keep the converter, or who loads what it wrote, busy for hours."""
NOT_ASKED = "export.formats does not name it."
NOT_INSTALLED = "the export extra is not installed. Export again by `scripts/run --extra export …`."
NOT_CONVERTED = "it is converted by TensorFlow, which is not installed."


@dataclass(frozen=True, kw_only=True)
class Export:
    """What was exported.

    Attributes:
        folder: The export's folder.
        trials: The numbers of the trials whose mean prediction it is, the winner first.
        model: The registered model's name.
        version: Its version.
        alias: The alias that the version has now: ``champion``, or ``candidate``.
        reason: Why it is not the champion, or empty.
        differences: The greatest difference between two predictions, by format.
        milliseconds: The median time of a prediction for one window, by format.
        left_out: Why a format could not be written, by format.
    """

    folder: Path
    trials: tuple[int, ...]
    model: str
    version: str
    alias: str
    reason: str
    differences: Mapping[str, float]
    milliseconds: Mapping[str, float]
    left_out: Mapping[str, str]


def export_best(
    study: str,
    *,
    folder: Path,
    uri: str | None = None,
    formats: Sequence[str] | None = None,
    trial: int | None = None,
) -> Export:
    """Export the winner's model, or its members' mean as one model, without training again.

    It is written aside, loaded in a fresh process and compared. Only a good export gets its name,
    in the place of an older one, and only a good one is registered; the same trial once. What a
    person put beside an older one is kept.

    Args:
        study: The study's name.
        folder: The study file's ``storage.folder``.
        uri: Its ``tracking.uri``; ``None`` for the store in the folder.
        formats: Which formats of other runtimes to write, as ``export.formats`` names them;
            ``None`` for those that the study was begun with.
        trial: The number of another complete trial that is exported in the winner's place, as of the
            front, under ``STUDY@trial_NUMBER``.

    Returns:
        Where the model is, and how far its formats agree.

    Raises:
        ConfigError: If the study's settings or its space cannot be read any more.
        OSError: If a disk is full.
        ServiceAway: If its database does not answer.
        StudyError: If there is nothing to export, the formats do not agree, or a person's own file in
            the export's folder has a name that the new one needs.
        TrackingError: If the tracking store cannot be opened; ServiceAway if it is a server that does not answer.
    """
    winner = load_winner(study, folder.absolute(), trial)
    name = study if not winner.chosen else f"{study}@trial_{trial}"
    place = _make_exports(folder.absolute()) / name
    if place.exists():
        _list_exported(place)
    with (
        FileLock(place.with_name(f".{name}.lock")),
        tempfile.TemporaryDirectory(dir=place.parent, prefix=".writing-") as aside,
        FreshProcess(BUILD) as builder,
        FreshProcess(CHECK, MLFLOW_ALLOW_PICKLE_DESERIALIZATION="false") as checker,
    ):
        room = Path(aside)
        registry = open_registry(winner, folder.absolute(), uri)
        built = _build(builder, winner, room)
        held = registry.find_version()
        package = registry.fetch(held, room / "held") if held else room / REGISTERED
        checked = _check(checker, winner, built, room, package)
        asked = winner.config.export.formats if formats is None else formats
        wanted = {ASKED[name] for name in asked}
        found = _convert(wanted, winner.config.space, room)
        built, checked = _join(found, built, checked)
        standing = registry.compare()
        registered = (standing.alias, hide_credentials(registry.uri))
        _write_papers(winner, built, checked, room / "export", registered)
        if place.exists():
            _keep_others(place, room / "export")
        if held:
            registry.update(held)
        version = held or registry.register(package, winner)
        registry.crown(version, standing.alias)
        _replace(place, room / "export", room / "replaced")
    return Export(
        folder=place,
        trials=tuple(member.number for member in winner.members),
        model=study,
        version=str(version.version),
        alias=standing.alias,
        reason=standing.reason,
        differences=checked.differences,
        milliseconds=checked.milliseconds,
        left_out=built.left_out,
    )


def _make_exports(folder: Path) -> Path:
    exports = folder / "exports"
    try:
        exports.mkdir(exist_ok=True)
        tempfile.TemporaryFile(dir=exports).close()
    except OSError as exc:
        raise StudyError(
            f"storage.folder must be a folder that can be written: {exc.strerror}. "
            f"Received: {str(exports)!r}."
        ) from None
    return exports


def _list_exported(place: Path) -> set[str]:
    """List the files that an earlier export wrote.

    Raises:
        StudyError: If the folder is none that was exported.
    """
    try:
        lines = (place / CHECKSUMS).read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        raise StudyError(
            f"{str(place)!r} must be free, or hold an export, which the new one replaces. "
            f"Received: a folder without {CHECKSUMS}. Move it away."
        ) from None
    return {CHECKSUMS, *(line.partition("  ")[2] for line in lines)}


def _keep_others(place: Path, export: Path) -> None:
    """Copy what somebody else put into an old export's folder into the new one's.

    Raises:
        StudyError: If the new one has something of that name.
    """
    known = _list_exported(place)
    for path in [path for path in place.rglob("*") if path.is_file()]:
        name = path.relative_to(place)
        if name.as_posix() in known:
            continue
        if (export / name).exists() or any((export / part).is_file() for part in name.parents):
            raise StudyError(
                f"The export's folder must hold nothing else of a name that the export needs. "
                f"Received: {str(path)!r}, which no export wrote. Move it away. Nothing was replaced or "
                f"registered."
            )
        (export / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, export / name)


def _replace(place: Path, export: Path, old: Path) -> None:
    """Give a new export its name, and move an older one away; on any error it is put back."""
    try:
        if place.exists():
            place.rename(old)
        export.rename(place)
    except BaseException:
        if old.exists() and not place.exists():
            old.rename(place)
        raise


def _build(builder: FreshProcess, winner: Winner, room: Path) -> Built:
    (room / "export").mkdir()
    tested = bool(winner.test)
    reply = builder.call(
        config=winner.config.model_dump(mode="json"),
        members=[asdict(member) for member in winner.members],
        value=winner.test[winner.config.objective.metric] if tested else winner.row.value,
        data=str(winner.data),
        folder=str(room),
        side="test" if tested else "validation",
    )
    shapes = {name: tuple(reply[name]) for name in ("inputs", "outputs")}
    return Built(**{**reply, **shapes})


def _check(
    checker: FreshProcess, winner: Winner, built: Built, room: Path, package: Path
) -> Checked:
    """Have every format loaded, and refuse what does not agree."""
    written = [name for name in FORMATS if name not in built.left_out]
    places = {name: str(room / "export" / name) for name in written} | {REGISTERED: str(package)}
    samples = str(room / SAMPLES)
    reply = checker.call(samples=samples, space=winner.config.space, places=places)
    checked = Checked(**reply)
    for name, difference in checked.differences.items():
        if not difference <= TOLERANCES[name]:  # NaN is not
            raise StudyError(
                f"An exported model must predict what the trial's model predicts, within "
                f"{TOLERANCES[name]:g}. Received: a difference of {difference:.3g} in {name}. "
                f"Nothing was replaced or registered."
            )
    return checked


def _convert(wanted: AbstractSet[str], space: str, room: Path) -> dict[str, Comparison | str]:
    """Write the formats of other runtimes that are wanted, at once, and compare each.

    Of those that cannot be had it is said why: not every runtime knows every layer.
    """
    found: dict[str, Comparison | str] = dict.fromkeys(CONVERTED.keys() - wanted, NOT_ASKED)
    source = str(room / "export" / KERAS)
    with ExitStack() as stack:  # which ends, on Ctrl-C too, those that are still at work
        converters = {}
        for name in sorted(wanted):
            lack = _find_lack(name)
            if lack:
                found[name] = lack
                continue
            converter = stack.enter_context(FreshProcess(CONVERT, KERAS_BACKEND="tensorflow"))
            converter.ask(name=name, source=source, space=space, place=str(room / name))
            converters[name] = converter
        for name, converter in converters.items():
            found[name] = _compare(name, converter, room)
    return found


def _join(
    found: Mapping[str, Comparison | str], built: Built, checked: Checked
) -> tuple[Built, Checked]:
    """Put what is known of the converted formats beside what is known of the others."""
    good = {name: reply for name, reply in found.items() if isinstance(reply, Comparison)}
    left_out = {name: reply for name, reply in found.items() if isinstance(reply, str)}
    differences = {name: one.difference for name, one in good.items()}
    milliseconds = {name: one.milliseconds for name, one in good.items()}
    return (
        replace(built, left_out={**built.left_out, **left_out}),
        replace(
            checked,
            differences={**checked.differences, **differences},
            milliseconds={**checked.milliseconds, **milliseconds},
        ),
    )


def _find_lack(name: str) -> str:
    """Say what is not installed that a format is written by, or nothing."""
    if not HAS_TENSORFLOW:
        return NOT_CONVERTED
    installed = all(importlib.util.find_spec(library) for library in CONVERTED[name])
    return "" if installed else NOT_INSTALLED


def _compare(name: str, converter: FreshProcess, room: Path) -> Comparison | str:
    """Wait until one format is written and compare it, or say why it cannot be had."""
    place = room / name
    try:
        converter.answer(CONVERSION_SECONDS)
        with FreshProcess(COMPARE) as comparer:
            comparer.ask(name=name, place=str(place), samples=str(room / SAMPLES))
            reply = comparer.answer(CONVERSION_SECONDS)
    except ProcessFailed as exc:
        return f"the model cannot be written in it: {exc.reason}"
    except TimeoutError:
        return f"writing or loading it took longer than {CONVERSION_SECONDS:g} s."
    found = Comparison(**reply)
    if not found.difference <= TOLERANCES[name]:
        return f"its predictions differ by {found.difference:.3g}, above {TOLERANCES[name]:g}."
    place.rename(room / "export" / name)
    return found


def _write_papers(
    winner: Winner, built: Built, checked: Checked, folder: Path, registered: tuple[str, str]
) -> None:
    """Write the files that are read by people."""
    card = write_card(winner, built, checked, list_sizes(folder), *registered)
    (folder / CARD).write_text(card, encoding="utf-8")
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    sums = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(folder).as_posix()}"
        for path in files
    ]
    (folder / CHECKSUMS).write_text("\n".join(sums) + "\n", encoding="utf-8")
