import os
import struct
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from search.config import TaskConfig, VideoData
from search.data.recordings import Recordings
from search.data.unlabelled import Source, list_ends, load_unlabelled
from search.data.video import load_video
from search.errors import ConfigError, DataError

av = pytest.importorskip("av", reason="the video extra is not installed")

FIGHTS = Path(__file__).parents[3].parent / "shared/data/fight_surv"
NOISE = 6
"""Grey levels that a lossy codec may be off by."""


def write_video(
    path: Path,
    levels: Iterable[int],
    rate: int = 10,
    codec: str = "mpeg4",
    size: tuple[int, int] = (16, 32),
) -> Path:
    """Write a video of grey frames of one level each."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        (stream.height, stream.width), stream.pix_fmt = size, "yuv420p"
        for level in levels:
            picture = np.full(size, level, dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="gray")))
        container.mux(stream.encode())
    return path


def write_classes(root: Path, frames: int = 10) -> Path:
    """Two classes of two videos, every video of one grey level."""
    for number, name in enumerate(("run/a.mp4", "run/b.avi", "walk/a.mkv", "walk/c.mov")):
        write_video(root / name, [50 * number + 20] * (frames + number))
    return root


def load(root: Path, kind: str = "classification", **settings: Any) -> Recordings:
    fold, horizon = settings.pop("test_fold", None), settings.pop("horizon", 1)
    report = settings.pop("report", lambda what, done, total: None)
    task = TaskConfig.model_validate({"kind": kind, "horizon": horizon})
    defaults = {"height": 4, "width": 8, "frame_rate": 10}
    config = VideoData(path=root, **(defaults | settings))
    return load_video(config, task, root.parent / "kept", report, fold)


def write_sheet(root: Path, *lines: str) -> Path:
    path = root.parent / "videos.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_each_video_is_a_clip_with_its_folders_class(tmp_path: Path) -> None:
    recordings = load(write_classes(tmp_path / "videos"))
    assert recordings.names == ("run/a.mp4", "run/b.avi", "walk/a.mkv", "walk/c.mov")
    assert recordings.lengths.tolist() == [10, 11, 12, 13]
    assert recordings.rows.shape == (46, 4, 8, 1)
    assert recordings.rows.dtype == np.uint8
    levels = np.repeat([20, 70, 120, 170], [10, 11, 12, 13])
    assert abs(recordings.rows[:, 2, 3, 0] - levels).max() < NOISE
    assert recordings.classes == ("run", "walk")
    assert recordings.truths.tolist() == [0] * 21 + [1] * 25
    assert recordings.truths.dtype == np.int64
    assert recordings.clips
    assert recordings.channels == ("grey",)
    assert recordings.sides is None
    assert recordings.groups is not None
    assert recordings.groups.tolist() == [0, 1, 2, 3]


def test_the_description_names_the_shortest_video(tmp_path: Path) -> None:
    description = load(write_classes(tmp_path / "videos")).description
    assert description == (
        "4 videos in 2 classes of 10 ('run/a.mp4') to 13 frames, 10 a second, 4 x 8 grey, "
        "from videos."
    )


@pytest.mark.parametrize(
    ("wanted", "shown"),
    [
        (25, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19]),
        (12.5, [0, 2, 4, 6, 8, 10, 12, 14, 16, 18]),
        (10, [0, 2, 5, 7, 10, 12, 15, 17]),
        (50, sorted([*range(20), *range(20)])),
        (2, [0, 12]),
    ],
)
@pytest.mark.parametrize("ending", ["mp4", "avi", "mkv"])
def test_each_wanted_time_shows_the_last_frame_shown(
    tmp_path: Path, wanted: float, shown: list[int], ending: str
) -> None:
    write_video(tmp_path / f"videos/a.{ending}", range(10, 210, 10), rate=25)
    rows = load(tmp_path / "videos", "frames", frame_rate=wanted).rows
    assert np.round(rows[:, 2, 3, 0] / 10 - 1).astype(int).tolist() == shown


def test_milliseconds_that_were_rounded_lose_no_frame(tmp_path: Path) -> None:
    """Matroska writes frame 2 of 30 a second at 0.067 s: after the time 2/30 s."""
    write_video(tmp_path / "videos/a.mkv", range(10, 210, 10), rate=30)
    rows = load(tmp_path / "videos", "frames", frame_rate=30).rows
    assert np.round(rows[:, 2, 3, 0] / 10 - 1).astype(int).tolist() == list(range(20))


def test_frames_are_averaged_over_areas(tmp_path: Path) -> None:
    path = tmp_path / "videos/a.avi"
    path.parent.mkdir()
    picture = np.zeros((16, 32, 3), dtype=np.uint8)
    picture[:, ::2] = (200, 0, 0)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=10)
        stream.width, stream.height, stream.pix_fmt = 32, 16, "bgr0"
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    recordings = load(path.parent, "frames", colour="rgb")
    assert recordings.rows.shape == (3, 4, 8, 3)
    assert abs(recordings.rows - np.array([100.0, 0, 0])).max() < NOISE
    assert recordings.channels == ("red", "green", "blue")


def test_videos_of_different_sizes_become_frames_of_one_size(tmp_path: Path) -> None:
    write_video(tmp_path / "videos/a.mp4", [50] * 5)
    write_video(tmp_path / "videos/b.mp4", [150] * 5, size=(48, 20))
    rows = load(tmp_path / "videos", "frames").rows
    assert rows.shape == (10, 4, 8, 1)
    assert abs(rows - np.repeat([50.0, 150.0], 5)[:, None, None, None]).max() < NOISE


def test_a_video_whose_size_changes_gives_frames_of_one_size(tmp_path: Path) -> None:
    path = write_video(tmp_path / "videos/a.mpg", [50] * 10, rate=25, codec="mpeg1video")
    more = tmp_path / "more.mpg"
    write_video(more, [150] * 20, rate=25, codec="mpeg1video", size=(48, 64))
    path.write_bytes(path.read_bytes() + more.read_bytes())
    rows = load(path.parent, "frames", frame_rate=25).rows
    assert rows.shape[1:] == (4, 8, 1)
    assert abs(rows[0] - 50.0).max() < NOISE
    assert abs(rows[-1] - 150.0).max() < NOISE


@pytest.mark.parametrize(
    ("matrix", "bright"),
    [
        pytest.param((1, 0, 0, 1), np.s_[:, :4], id="upright"),
        pytest.param((0, 1, -1, 0), np.s_[:4, :], id="clockwise"),
        pytest.param((-1, 0, 0, -1), np.s_[:, 4:], id="half a turn"),
        pytest.param((0, -1, 1, 0), np.s_[4:, :], id="counterclockwise"),
    ],
)
def test_a_video_is_shown_as_the_phone_was_held(
    tmp_path: Path, matrix: tuple[int, ...], bright: Any
) -> None:
    root = write_classes(tmp_path)
    path = next(root.rglob("*.mp4"))
    picture = np.zeros((32, 64, 3), np.uint8)
    picture[:, :32] = 255  # the left half
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 32, "yuv420p"
        for _ in range(10):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture)))
        container.mux(stream.encode())
    content = bytearray(path.read_bytes())
    start = content.index(b"tkhd") + 44  # where ISO 14496-12 puts the matrix of a track
    a, b, c, d = matrix
    content[start : start + 36] = struct.pack(
        ">9i", a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30
    )
    path.write_bytes(content)
    frame = load(root, width=8, height=8, colour="grey").rows[0, ..., 0].astype(float)
    lit = np.zeros((8, 8), bool)
    lit[bright] = True
    assert frame[lit].min() > 200
    assert frame[~lit].max() < 55


def test_frames_need_no_class_folders(tmp_path: Path) -> None:
    write_video(tmp_path / "videos/a.mp4", [10] * 5)
    write_video(tmp_path / "videos/deep/er/b.mp4", [20] * 6)
    recordings = load(tmp_path / "videos", "frames", horizon=3)
    assert recordings.names == ("a.mp4", "deep/er/b.mp4")
    assert recordings.truths is recordings.rows
    assert (recordings.clips, recordings.stride) == (False, 1)
    assert recordings.classes == ()


def test_long_videos_are_cut_into_whole_clips_of_one_group(tmp_path: Path) -> None:
    root = tmp_path / "videos"
    write_video(root / "run/a.mp4", range(10, 120, 10))
    write_video(root / "walk/b.mp4", [30] * 4)
    recordings = load(root, clip_seconds=0.4)
    assert recordings.names == ("run/a.mp4 clip 0", "run/a.mp4 clip 1", "walk/b.mp4 clip 0")
    assert recordings.lengths.tolist() == [4, 4, 4]
    assert recordings.truths.tolist() == [0] * 8 + [1] * 4
    levels = np.array([*range(10, 90, 10), *[30] * 4])
    assert abs(recordings.rows[:, 2, 3, 0] - levels).max() < NOISE
    assert recordings.groups is not None
    assert recordings.groups.tolist() == [0, 0, 1]
    assert "cut into 3 clips of 4 frames" in recordings.description


def test_a_sheet_gives_groups_and_folds_in_any_order(tmp_path: Path) -> None:
    root = write_classes(tmp_path / "videos")
    lines = ["walk/c.mov,z,1", "walk/a.mkv,y,1", "none.mp4,x,2", "./run/b.avi,y,1", "run/a.mp4,x,0"]
    sheet = write_sheet(root, "file,scene,fold", *lines)
    recordings = load(root, sheet=sheet, groups="scene", folds="fold", test_fold=0)
    assert recordings.groups is not None
    assert recordings.groups.tolist() == [0, 1, 1, 2]
    assert recordings.sides is not None
    assert recordings.sides.tolist() == [2] * 10 + [-1] * 36
    assert recordings.sides.dtype == np.int8


def test_a_sheet_gives_official_sides(tmp_path: Path) -> None:
    root = write_classes(tmp_path / "videos")
    lines = ["run/a.mp4,train", "run/b.avi,test", "walk/a.mkv,train", "walk/c.mov,validation"]
    recordings = load(root, sheet=write_sheet(root, "file,part", *lines), sides="part")
    assert recordings.sides is not None
    assert recordings.sides.tolist() == [0] * 10 + [2] * 11 + [0] * 12 + [1] * 13


def test_progress_is_reported(tmp_path: Path) -> None:
    heard: list[tuple[str, int, int]] = []
    load(write_classes(tmp_path / "videos"), report=lambda *news: heard.append(news))
    assert heard == [("Decoding videos", done, 4) for done in range(5)]


def forbid_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("search.data.decoding._decode", lambda *_: pytest.fail("decoded again"))


def test_a_video_is_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_classes(tmp_path / "videos")
    first = load(root)
    forbid_decoding(monkeypatch)
    (root / "run/a.mp4").rename(root / "run/aa.mp4")
    again = load(root)
    assert again.rows.tobytes() == first.rows.tobytes()
    assert again.names[0] == "run/aa.mp4"
    assert len(list((tmp_path / "kept").iterdir())) == 4


@pytest.mark.parametrize(
    "setting", [{"height": 5}, {"width": 5}, {"colour": "rgb"}, {"frame_rate": 5}], ids=str
)
def test_other_settings_decode_again(tmp_path: Path, setting: dict[str, Any]) -> None:
    root = write_classes(tmp_path / "videos")
    load(root)
    recordings = load(root, **setting)
    shape = {"height": 4, "width": 8, "colour": "grey"} | setting
    assert recordings.rows.shape[1:3] == (shape["height"], shape["width"])
    assert len(list((tmp_path / "kept").iterdir())) == 8


@pytest.mark.parametrize(
    "content", [b"", b"no array", None, "pickle"], ids=["empty", "text", "cut", "pickle"]
)
def test_kept_frames_that_are_damaged_are_decoded_again(
    tmp_path: Path, content: bytes | str | None
) -> None:
    root = write_classes(tmp_path / "videos")
    first = load(root)
    for path in (tmp_path / "kept").iterdir():
        if content == "pickle":
            np.save(path, np.array([{}], dtype=object), allow_pickle=True)
        else:
            path.write_bytes(path.read_bytes()[:-40] if content is None else content)  # type: ignore[arg-type]
    assert load(root).rows.tobytes() == first.rows.tobytes()
    assert all(np.load(path).dtype == np.uint8 for path in (tmp_path / "kept").iterdir())


def test_broken_videos_are_named_and_left_out(tmp_path: Path) -> None:
    root = write_classes(tmp_path / "videos")
    (root / "run/x.mp4").write_bytes(b"no video" * 100)
    write_video(root / "walk/short.mp4", [10])
    recordings = load(root, max_broken=0.4)
    assert len(recordings.names) == 4
    assert recordings.truths.tolist() == [0] * 21 + [1] * 25
    assert "Videos left out: 2, as 'run/x.mp4' does not decode: Invalid data" in (
        recordings.description
    )
    assert "'walk/short.mp4' has 1 of the 2 frames needed" in recordings.description


def test_groups_fit_the_videos_that_are_left(tmp_path: Path) -> None:
    root = write_classes(tmp_path / "videos")
    (root / "run/a.mp4").write_bytes(b"no video")
    recordings = load(root, max_broken=0.4)
    assert recordings.names == ("run/b.avi", "walk/a.mkv", "walk/c.mov")
    assert recordings.groups is not None
    assert recordings.groups.tolist() == [1, 2, 3]


def test_too_many_broken_videos_are_refused(tmp_path: Path) -> None:
    root = write_classes(tmp_path / "videos")
    for number in range(7):
        (root / f"run/x{number}.mp4").write_bytes(b"no video" * 100)
    rule = r"data\.max_broken must .*7 of 11 videos: 'run/x0\.mp4' does not decode.* and 2 more"
    with pytest.raises(DataError, match=rule):
        load(root)


def test_videos_that_are_all_broken_are_refused_whatever_share_may_be(tmp_path: Path) -> None:
    for name in ("a.mp4", "b.avi"):
        path = write_video(tmp_path / "videos" / name, [10] * 5)
        path.write_bytes(b"")
    with pytest.raises(DataError, match=r"data\.max_broken must .*2 of 2 videos: 'a\.mp4' does"):
        load(tmp_path / "videos", "frames", max_broken=0.99)


def test_a_video_that_cannot_be_read_is_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_classes(tmp_path / "videos")
    opened = Path.open

    def open_others(path: Path, *args: Any, **kwargs: Any) -> Any:
        if path == root / "run/b.avi":
            raise PermissionError(13, "Permission denied")
        return opened(path, *args, **kwargs)

    monkeypatch.setattr(Path, "open", open_others)
    recordings = load(root, max_broken=0.25)
    assert recordings.names == ("run/a.mp4", "walk/a.mkv", "walk/c.mov")
    assert "Videos left out: 1, as 'run/b.avi' cannot be read: Permission denied" in (
        recordings.description
    )


def test_a_video_whose_end_was_cut_off_is_broken(tmp_path: Path) -> None:
    root = write_classes(tmp_path / "videos", frames=40)
    path = write_video(root / "run/x.avi", list(range(10, 250)) * 2, rate=25)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])
    with pytest.raises(DataError, match=r"1 of 5 videos: 'run/x\.avi' decodes to \d+ of its 480"):
        load(root)


def test_a_sound_is_no_video(tmp_path: Path) -> None:
    root = write_classes(tmp_path / "videos")
    with av.open(str(root / "run/x.mkv"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), layout="mono")
        sound.rate = 8000
        container.mux(stream.encode(sound))
    with pytest.raises(DataError, match=r"'run/x\.mkv' holds no pictures"):
        load(root)


def test_a_file_that_names_other_files_opens_none(tmp_path: Path) -> None:
    root = write_classes(tmp_path / "videos")
    address = "http://127.0.0.1:9/secret.ts"
    (root / "run/x.mp4").write_text(f"#EXTM3U\n#EXTINF:1,\n{address}\n#EXT-X-ENDLIST\n")
    with pytest.raises(DataError, match=r"'run/x\.mp4' does not decode"):
        load(root)


def test_a_clip_shorter_than_asked_for_is_too_short(tmp_path: Path) -> None:
    root = write_classes(tmp_path / "videos")
    with pytest.raises(DataError, match=r"1 of 4 .*'run/a\.mp4' has 10 of the 11 frames needed"):
        load(root, clip_seconds=1.1)


def test_a_video_without_room_for_the_horizon_is_too_short(tmp_path: Path) -> None:
    root = write_classes(tmp_path / "videos")
    with pytest.raises(DataError, match=r"1 of 4 .*'run/a\.mp4' has 10 of the 11 frames needed"):
        load(root, "frames", horizon=10)


def test_a_video_shorter_than_the_longest_window_is_left_out(tmp_path: Path) -> None:
    root = write_classes(tmp_path / "videos")
    video = VideoData(path=root, frame_rate=10, max_broken=0.5)
    task = TaskConfig(kind="classification")
    with pytest.raises(DataError, match=r"'run/a\.mp4' has 10 of the 11 frames needed"):
        load_video(
            video.model_copy(update={"max_broken": 0.1}), task, tmp_path / "c", print, longest=11
        )
    kept = load_video(video, task, tmp_path / "c", lambda *_: None, longest=11)
    assert "run/a.mp4" not in kept.names
    assert len(kept.names) == 3


def test_a_class_without_a_usable_video_is_refused(tmp_path: Path) -> None:
    root = write_classes(tmp_path / "videos")
    (root / "jump").mkdir()
    (root / "jump/x.mp4").write_bytes(b"no video")
    with pytest.raises(DataError, match=r"Every class .*none of 'jump': 'jump/x\.mp4' does not"):
        load(root, max_broken=0.5)


def test_other_files_are_passed_over(tmp_path: Path) -> None:
    root = write_classes(tmp_path / "videos")
    (root / "run/notes.txt").write_text("no video")
    (root / "run/._a.mp4").write_bytes(b"what a Mac leaves")
    (root / "empty").mkdir()
    (root / ".hidden").mkdir()
    write_video(root / "loose.mp4", [10] * 10)
    recordings = load(root)
    assert len(recordings.names) == 4
    assert "Files that are no videos by their ending, passed over: 1." in recordings.description
    assert "Videos in no class folder, which were passed over: 1." in recordings.description
    assert "Folders without a video, which were passed over: 'empty'." in recordings.description


def test_links_out_of_the_folder_and_to_the_same_video_are_passed_over(tmp_path: Path) -> None:
    root = write_classes(tmp_path / "videos")
    outside = write_video(tmp_path / "outside/o.mp4", [200] * 10)
    (root / "run/out.mp4").symlink_to(outside)
    (root / "walk/same.mp4").symlink_to(root / "run/a.mp4")
    (root / "jump").symlink_to(outside.parent)
    recordings = load(root)
    assert len(recordings.names) == 4
    assert recordings.classes == ("run", "walk")
    assert "Symbolic links to folders, out of" in recordings.description
    assert "passed over: 3." in recordings.description


def test_a_link_to_a_video_elsewhere_in_the_folder_counts(tmp_path: Path) -> None:
    root = write_classes(tmp_path / "videos")
    hidden = write_video(root / ".all/o.mp4", [200] * 10)
    (root / "run/o.mp4").symlink_to(hidden)
    assert "run/o.mp4" in load(root).names


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes here")
def test_a_pipe_is_no_video(tmp_path: Path) -> None:
    root = write_classes(tmp_path / "videos")
    os.mkfifo(root / "run/pipe.mp4")
    assert len(load(root).names) == 4


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"data\.path must name a folder.*'.*none'"):
        load(tmp_path / "none")


def test_a_folder_without_videos_is_refused(tmp_path: Path) -> None:
    (tmp_path / "videos/run").mkdir(parents=True)
    (tmp_path / "videos/run/a.txt").write_text("no video")
    with pytest.raises(DataError, match=r"data\.path must hold videos in a folder.*1 other files"):
        load(tmp_path / "videos")


def test_a_single_class_is_refused(tmp_path: Path) -> None:
    write_video(tmp_path / "videos/run/a.mp4", [10] * 5)
    with pytest.raises(DataError, match=r"two folders with videos or more.*only 'run'"):
        load(tmp_path / "videos")


BAD_SHEETS = {
    "no line": (
        ["file", "run/a.mp4", "run/b.avi", "walk/c.mov"],
        {},
        r"data\.sheet must have a line for every video.*'walk/a\.mkv' and 0 more of 4",
    ),
    "no files": (["name", "run/a.mp4"], {}, r"data\.sheet must have a column 'file'.*name"),
    "a file twice": (["file", "a.mp4", "./a.mp4"], {}, r"each video once.*'a\.mp4' twice"),
    "no such column": (
        ["file,scene", "run/a.mp4,1", "run/b.avi,1", "walk/a.mkv,1", "walk/c.mov,1"],
        {"groups": "scenes"},
        r"data\.groups must name a column.*Did you mean 'scene'",
    ),
    "no test fold": (
        ["file,fold", "run/a.mp4,1", "run/b.avi,1", "walk/a.mkv,3", "walk/c.mov,3"],
        {"folds": "fold"},
        r"split\.test_fold must be one of the folds 1, 3",
    ),
    "a group on two sides": (
        [
            "file,scene,part",
            "run/a.mp4,z,train",
            "run/b.avi,y,train",
            "walk/a.mkv,y,test",
            "walk/c.mov,x,test",
        ],
        {"groups": "scene", "sides": "part"},
        r"data\.sides must keep each group.*clips of group 'y' on two sides",
    ),
    "a group in two folds": (
        ["file,scene,fold", "run/a.mp4,7,1", "run/b.avi,8,0", "walk/a.mkv,7,0", "walk/c.mov,9,1"],
        {"groups": "scene", "folds": "fold", "test_fold": 1},
        r"data\.folds must keep each group.*clips of group '7' on two sides",
    ),
    "no group": (
        ["file,scene", "run/a.mp4,z", "run/b.avi,", "walk/a.mkv,y", "walk/c.mov,x"],
        {"groups": "scene"},
        r"data\.groups must have a value in every line.*1 empty cells.*line 3",
    ),
    "other words": (
        ["file,part", "run/a.mp4,train", "run/b.avi,val", "walk/a.mkv,test", "walk/c.mov,test"],
        {"sides": "part"},
        r"data\.sides must hold 'train', 'validation' or 'test'.*'val'",
    ),
}


@pytest.mark.parametrize(("lines", "settings", "message"), BAD_SHEETS.values(), ids=BAD_SHEETS)
def test_a_sheet_that_does_not_fit_is_refused(
    tmp_path: Path, lines: list[str], settings: dict[str, Any], message: str
) -> None:
    root = write_classes(tmp_path / "videos")
    with pytest.raises((ConfigError, DataError), match=message):
        load(root, sheet=write_sheet(root, *lines), **settings)


BAD_SETTINGS: dict[str, tuple[str, dict[str, Any], str]] = {
    "another task": ("regression", {}, r"offers: classification, frames.*kind='regression'"),
    "groups alone": ("frames", {"groups": "g"}, r"data\.sheet must be given, since data\.groups"),
    "a test fold alone": ("frames", {"test_fold": 1}, r"data\.folds must be given"),
    "clips of frames": ("frames", {"clip_seconds": 1}, r"data\.clip_seconds must be left out"),
    "clips of one frame": (
        "classification",
        {"clip_seconds": 0.1},
        r"data\.clip_seconds must hold 2 frames.*frame_rate=10",
    ),
}


@pytest.mark.parametrize(("kind", "settings", "message"), BAD_SETTINGS.values(), ids=BAD_SETTINGS)
def test_settings_that_do_not_fit_are_refused(
    tmp_path: Path, kind: str, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        load(tmp_path, kind, **settings)


def test_a_missing_decoder_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_classes(tmp_path / "videos")
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ConfigError, match=r"PyAV .*scripts/run --extra video"):
        load(root)


@pytest.mark.skipif(not FIGHTS.is_dir(), reason=f"there is no {FIGHTS}")
@pytest.mark.slow
@pytest.mark.timeout(60)
def test_real_videos_decode_to_what_another_reader_saw(tmp_path: Path) -> None:
    """The array of these clips was made apart from this code; its first frames are compared."""
    (tmp_path / "videos").symlink_to(FIGHTS / "clips")
    settings = {"sheet": FIGHTS / "clips.csv", "groups": "scene_group", "height": 64, "width": 64}
    recordings = load(tmp_path / "videos", **settings, frame_rate=8)
    assert len(recordings.names) == 50
    lines = (FIGHTS / "clips.csv").read_text().splitlines()[1:]
    places = [[line.split(",")[0] for line in lines].index(name) for name in recordings.names]
    with np.load(FIGHTS / "fight_surv_16x64x64.npz", allow_pickle=False) as file:
        frames, labels = file["X"][places, 0], file["y"][places]
    first = recordings.rows[recordings.starts[:-1]].astype(float)
    assert abs(first - frames).mean(axis=(1, 2, 3)).max() < 3
    assert (recordings.truths[recordings.starts[:-1]] == 1 - labels).all()


def test_videos_of_which_nothing_is_known_need_no_folder_of_a_class(tmp_path: Path) -> None:
    write_video(tmp_path / "v" / "b.mp4", [30] * 25)
    write_video(tmp_path / "v" / "deep" / "a.mp4", [90] * 12)
    data = {"source": "video", "height": 4, "width": 8, "frame_rate": 10, "clip_seconds": 1.0}
    source = Source(
        data={**data, "groups": "scene", "folds": "fold"},
        kind="classification",
        channels=("grey",),
        row_shape=(4, 8, 1),
    )
    found = load_unlabelled(source, tmp_path / "v", tmp_path / "kept", lambda *_: None)
    assert found.names == ("b.mp4 clip 0", "b.mp4 clip 1", "deep/a.mp4 clip 0")
    assert list_ends(found, reach=10)[0].tolist() == [9, 19, 29]
