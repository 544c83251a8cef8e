"""Tables in CSV or Parquet files become recordings, after every check that a person needs."""

from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np

from search.config import Kind, TableData, TaskConfig
from search.data.cells import Words
from search.data.columns import (
    Columns,
    check_present,
    check_settings,
    choose_columns,
    list_some,
    name_words,
)
from search.data.files import list_files, read_frame
from search.data.gaps import Layout, lay_out
from search.data.holes import treat_missing
from search.data.parts import Part, Places, check_groups, label_groups, read_part
from search.data.recordings import Recordings, Report
from search.data.sequences import Array
from search.data.stamps import calendar_waves, name_calendar, show_count
from search.errors import DataError

MOST_WORDS = 1_000
"""Different words in a column of words, past which it is a column of values or of names."""


def load_table(config: TableData, task: TaskConfig | None, report: Report) -> Recordings:
    """Read one table, or every table of a folder.

    Args:
        config: The files, and the part that each column has.
        task: What is predicted; ``None`` where nothing is: then no target is read, and channels are
            those that are named, and no other.
        report: Hears of every file that was read.

    Returns:
        The rows of all files: of each file, and in it of each unit, in file order.

    Raises:
        ConfigError: If a file or column that the study names does not exist, or settings
            contradict each other.
        DataError: If a file cannot be read, or holds what its column must not.
    """
    kind = None if task is None else task.kind
    check_settings(config, kind)
    files, parts, columns = list_files(config), list[Part](), None
    words = name_words(config, kind)
    for done, file in enumerate(files, start=1):
        frame = read_frame(file, config, words)
        if columns is None:
            columns = choose_columns(frame, file, config, kind)
        check_present(frame, file, columns, config)
        parts.append(read_part(frame, file, columns, config, kind))
        report("Reading tables", done, len(files))
    if columns is None:  # list_files names one file or more
        raise ValueError("no file was read")
    return _join(parts, columns, config, kind)


def _join(
    parts: Sequence[Part], columns: Columns, config: TableData, kind: Kind | None
) -> Recordings:
    places = Places.join([part.places for part in parts])
    stamps = [part.stamps for part in parts if part.stamps is not None]
    layout = lay_out(np.concatenate(stamps) if stamps else None, places, config)
    words = [
        _list_words([part.categories[place] for part in parts], "categories", name)
        for place, name in enumerate(config.categories)
    ]
    channels = _name_channels(columns, words, config)
    rows = _fill_rows(parts, layout, words, channels, config)
    usable, note = treat_missing(rows, layout, places, channels, config)
    truths, classes = _join_truths(parts, layout, config, kind)
    seen = set(columns.values) <= set(columns.numbers) and kind == "forecasting"
    return Recordings(
        description=_describe(config, layout, channels, columns, note),
        rows=rows,
        starts=layout.starts,
        names=layout.names,
        truths=truths,
        channels=channels,
        classes=classes,
        variables=columns.values,
        target_channels=tuple(columns.numbers.index(v) for v in columns.values) if seen else (),
        stride=config.stride,
        groups=_number_groups(parts, layout),
        sides=_join_sides(parts, layout, config),
        stamps=layout.stamps,
        step=layout.step,
        usable=usable,
        drops_short=config.short == "drop" or len(layout.names) > len(places.names),
        scaled_apart=config.scaling == "recording",
        firsts=np.unique(layout.origins, return_index=True)[1],
    )


def _name_channels(
    columns: Columns, words: Sequence[Sequence[str]], config: TableData
) -> tuple[str, ...]:
    pairs = [
        f"{name}={word}"
        for name, known in zip(config.categories, words, strict=True)
        for word in known
    ]
    return (*columns.numbers, *pairs, *name_calendar(config.calendar))


def _list_words(columns: Sequence[Words], field: str, name: str) -> tuple[str, ...]:
    """Sort the words of a column over all files, numbers by their value.

    All rows are looked at, those of the test side too: what leaks is which words there are, and
    no row's value. A word that training never shows is a channel of zeros there.
    """
    words = {word for column in columns for word in column.words}
    if len(words) > MOST_WORDS:
        raise DataError(
            f"data.{field} must name a column of words. Received: {name!r} with {len(words):,} "
            f"different ones, the first {min(words)!r}. For values name data.channels, or "
            f"write task.kind='regression'."
        )
    ordered = sorted(words)
    try:
        return tuple(sorted(ordered, key=float))
    except ValueError:
        return tuple(ordered)


def _number_words(column: Words, words: Sequence[str]) -> Array:
    """Number a file's words as those of all files together, -1 for none."""
    numbers = {word: number for number, word in enumerate(words)}
    return np.array([numbers[word] for word in column.words] + [-1])[column.codes]


def _fill_rows(
    parts: Sequence[Part],
    layout: Layout,
    words: Sequence[Sequence[str]],
    channels: Sequence[str],
    config: TableData,
) -> Array:
    """Put numbers, words and calendar side by side, NaN in missing values and filled rows."""
    rows = np.full((layout.rows, len(channels)), np.nan, dtype=np.float32)
    for part, to in _spread(parts, layout):
        rows[to, : part.values.shape[1]] = part.values
        first = part.values.shape[1]
        for column, known in zip(part.categories, words, strict=True):
            codes = _number_words(column, known)
            for number in range(len(known)):
                rows[to, first + number] = np.where(codes < 0, np.nan, codes == number)
            first += len(known)
    if config.calendar and layout.stamps is not None:
        first = len(channels) - 2 * len(config.calendar)
        for number, wave in enumerate(calendar_waves(layout.stamps, config.calendar)):
            rows[:, first + number] = wave
    return rows


def _spread(parts: Sequence[Part], layout: Layout) -> Iterable[tuple[Part, Array]]:
    """Give each file's rows the final rows that they go to."""
    edges = np.concatenate([[0], np.cumsum([part.rows for part in parts])])
    for part, (low, high) in zip(parts, pairwise(edges), strict=True):
        yield part, layout.to[low:high]


def _join_truths(
    parts: Sequence[Part], layout: Layout, config: TableData, kind: Kind | None
) -> tuple[Array, tuple[str, ...]]:
    """Gather what is right at each row, and the classes' names where these are labels."""
    labels = [part.label for part in parts if part.label is not None]
    if not labels:
        truths = np.full((layout.rows, parts[0].truths.shape[1]), np.nan, dtype=np.float32)
        for part, to in _spread(parts, layout):
            truths[to] = part.truths
        return truths, ()
    classes = labels[0].words
    if kind == "classification":
        classes = _list_words(labels, "targets", config.targets[0])
        if len(classes) < 2:  # noqa: PLR2004
            raise DataError(
                f"data.targets must name a column with two labels or more. Received: "
                f"{config.targets[0]!r} with {', '.join(classes) or 'none'}."
            )
    numbers = np.full(layout.rows, -1, dtype=np.int64)
    for label, (_, to) in zip(labels, _spread(parts, layout), strict=True):
        numbers[to] = _number_words(label, classes)
    return numbers, classes


def _number_groups(parts: Sequence[Part], layout: Layout) -> Array | None:
    """Number the groups of the final recordings in the order in which they appear."""
    labels = label_groups(parts)
    known = {label: number for number, label in enumerate(dict.fromkeys(labels))}
    if len(known) == 1:
        return None
    return np.array([known[labels[origin]] for origin in layout.origins])


def _join_sides(parts: Sequence[Part], layout: Layout, config: TableData) -> Array | None:
    """Gather the official sides; a filled row has one where both its neighbours share it."""
    read = [part.sides for part in parts if part.sides is not None]
    if not read:
        return None
    group = config.group or config.unit
    if group is not None:
        check_groups(parts, group)
    sides, numbers = np.concatenate(read), np.arange(layout.rows)
    before = sides[np.searchsorted(layout.to, numbers, side="right") - 1]
    after = sides[np.searchsorted(layout.to, numbers, side="left")]
    return np.where(before == after, before, -1).astype(np.int8)


def _describe(
    config: TableData, layout: Layout, channels: Sequence[str], columns: Columns, note: str
) -> str:
    counts = (
        f"{show_count(len(layout.names), 'recording')} with {show_count(layout.rows, 'row')}, "
        f"{show_count(len(channels), 'channel')}, from {config.path.name}"
    )
    words = f"no channel of {list_some(columns.left_out)}" if columns.left_out else ""
    return "; ".join(filter(None, (counts, layout.note, note, words))) + "."
