"""Files that a person was sent, that a crash left, or that somebody made to do harm."""

import importlib.util
import io
import os
import pickle
import random
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest

ROOT = Path(__file__).parents[2]
QUICKSTART = (ROOT / "scripts" / "studies" / "quickstart.toml").read_text()
MUTATIONS = 300
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def load_script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


LAUNCH = load_script("launch_study")


class Trap:
    """Makes a folder when somebody unpickles it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder),)


@pytest.fixture
def trap(tmp_path: Path) -> Path:
    """What is there if code of a file ran."""
    return tmp_path / "sprung"


def assert_refused(arguments: list[str], capsys: pytest.CaptureFixture[str], trap: Path) -> str:
    """Launch, and see one sentence, no traceback and exit code 2; return the sentence."""
    capsys.readouterr()
    code = LAUNCH.main(arguments)
    said = capsys.readouterr()
    assert code == 2, said.err
    assert said.out == ""
    assert "Traceback" not in said.err
    *before, last = said.err.strip().splitlines()
    assert last.startswith("error: "), said.err
    assert all(line[2] == ":" or line.startswith("error: ") for line in before), said.err
    assert not trap.exists()
    return last


def write_npz(path: Path, **arrays: Any) -> None:
    np.savez(path, **arrays)


def pickled(path: Path, trap: Path) -> None:
    write_npz(path, x=np.array([Trap(trap)], dtype=object), y=np.arange(1))


def bare_pickle(path: Path, trap: Path) -> None:
    path.write_bytes(pickle.dumps(Trap(trap)))


def pickled_member(path: Path, trap: Path) -> None:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("x.npy", pickle.dumps(Trap(trap)))
        file.writestr("y.npy", pickle.dumps(Trap(trap)))


def make_npy(header: str, body: bytes = b"") -> bytes:
    text = header.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + body


def with_members(**members: bytes) -> Callable[[Path, Path], None]:
    def write(path: Path, trap: Path) -> None:
        with zipfile.ZipFile(path, "w") as file:
            for name, content in members.items():
                file.writestr(name.replace("__", "/").replace("_npy", ".npy"), content)

    return write


def code_in_header(path: Path, trap: Path) -> None:
    header = (
        f"{{'descr': __import__('os').mkdir({str(trap)!r}), 'fortran_order': False, 'shape': (1,)}}"
    )
    with_members(x_npy=make_npy(header), y_npy=make_npy(header))(path, trap)


def climbing_member(path: Path, trap: Path) -> None:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("../sprung", b"x")
        file.writestr(f"{trap}", b"x")


def cut_short(path: Path, trap: Path) -> None:
    write_npz(path, x=np.zeros((50, 16, 3)), y=np.arange(50) % 2)
    path.write_bytes(path.read_bytes()[:5000])


def one_byte_wrong(path: Path, trap: Path) -> None:
    write_npz(path, x=np.random.default_rng(0).normal(size=(50, 16, 3)), y=np.arange(50) % 2)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


def linked_elsewhere(path: Path, trap: Path) -> None:
    path.symlink_to("/etc/passwd")


def linked_to_itself(path: Path, trap: Path) -> None:
    path.symlink_to(path)


def device(path: Path, trap: Path) -> None:
    path.symlink_to("/dev/zero")


def arrays(**arrays: Any) -> Callable[[Path, Path], None]:
    return lambda path, trap: write_npz(path, **arrays)


def content(content: bytes) -> Callable[[Path, Path], None]:
    return lambda path, trap: path.write_bytes(content)


HUGE = "{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000, 1000, 1000)}"
LIES = "{'descr': '<f8', 'fortran_order': False, 'shape': (-5, 16, 3)}"
ARRAYS: dict[str, Callable[[Path, Path], None]] = {
    "pickled objects": pickled,
    "a pickle": bare_pickle,
    "pickles for arrays": pickled_member,
    "code in a header": code_in_header,
    "a member that climbs out": climbing_member,
    "a huge header": with_members(x_npy=make_npy(HUGE), y_npy=make_npy(HUGE)),
    "a header of a megabyte": with_members(
        x_npy=b"\x93NUMPY\x02\x00\x00\x00\x10\x00" + b"(" * 2**20
    ),
    "a negative shape": with_members(x_npy=make_npy(LIES), y_npy=make_npy(LIES)),
    "no header": with_members(x_npy=b"", y_npy=b""),
    "an empty file": content(b""),
    "text": content(b"not an archive"),
    "an empty archive": with_members(),
    "a file cut short": cut_short,
    "one wrong byte": one_byte_wrong,
    "a link elsewhere": linked_elsewhere,
    "a link to itself": linked_to_itself,
    "an endless device": device,
    "texts for numbers": arrays(x=np.array([["a"]]), y=np.arange(1)),
    "complex numbers": arrays(x=np.zeros((9, 8, 2), "complex64"), y=np.arange(9) % 2),
    "records": arrays(x=np.zeros(9, [("a", "f4"), ("b", "f4")]), y=np.arange(9) % 2),
    "no clips": arrays(x=np.zeros((0, 8, 2)), y=np.arange(0)),
    "no numbers": arrays(x=np.full((9, 8, 2), np.nan), y=np.arange(9) % 2),
    "dates": arrays(x=np.zeros((9, 8, 2), "datetime64[s]"), y=np.arange(9) % 2),
}


@pytest.mark.parametrize("what", ARRAYS)
def test_arrays_that_do_harm_are_refused(
    what: str, tmp_path: Path, trap: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "clips.npz"
    ARRAYS[what](path, trap)
    study = tmp_path / "study.toml"
    study.write_text(
        'name = "hostile"\n[data]\nsource = "arrays"\npath = "clips.npz"\nx = "x"\ny = "y"\n'
        '[split]\nmethod = "stratified"\n'
    )
    folder = ["--storage.folder", str(tmp_path / "store")]
    said = assert_refused([str(study), *folder], capsys, trap)
    assert "root:" not in said


def parquet_cut_short(path: Path, trap: Path) -> None:
    buffer = io.BytesIO()
    pd.DataFrame({"t": range(99), "a": range(99), "b": range(99)}).to_parquet(buffer)
    path.write_bytes(buffer.getvalue()[:-20])


TABLES: dict[str, tuple[str, Callable[[Path, Path], None]]] = {
    "nothing": ("table.csv", content(b"")),
    "a header alone": ("table.csv", content(b"t,a,b\n")),
    "zero bytes": ("table.csv", content(b"t,a,b\n\0\0,\0,\0\n" * 9)),
    "a picture": ("table.csv", content(b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 9)),
    "a quote that never closes": ("table.csv", content(b't,a,b\n1,"2,3\n' + b"4,5,6\n" * 50)),
    "numbers beyond every type": ("table.csv", content(b"t,a,b\n" + b"1,2," + b"9" * 400 + b"\n")),
    "a line of other length": ("table.csv", content(b"t,a,b\n1,2,3\n1,2,3,4,5,6\n")),
    "a formula": ("table.csv", content(b"t,a,b\n1,=cmd|' /C calc'!A0,3\n")),
    "no parquet": ("table.parquet", content(b"PAR1 not really PAR1")),
    "a parquet file cut short": ("table.parquet", parquet_cut_short),
    "a link elsewhere": ("table.csv", linked_elsewhere),
}


@pytest.mark.parametrize("what", TABLES)
def test_tables_that_do_harm_are_refused(
    what: str, tmp_path: Path, trap: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name, write = TABLES[what]
    write(tmp_path / name, trap)
    study = tmp_path / "study.toml"
    study.write_text(
        f'name = "hostile"\n[data]\nsource = "table"\npath = "{name}"\ntime = "t"\n'
        'channels = ["a", "b"]\n[split]\nmethod = "time"\n[task]\nkind = "forecasting"\n'
    )
    folder = ["--storage.folder", str(tmp_path / "store")]
    said = assert_refused([str(study), *folder], capsys, trap)
    assert "root:" not in said


STUDIES: dict[str, bytes] = {
    "a name that climbs": b'name = "../../x"',
    "an absolute name": b'name = "/etc/x"',
    "a name of two lines": b'name = "a\\nb"',
    "a name with a zero": b'name = "a\\u0000b"',
    "an endless name": b'name = "' + b"a" * 100_000 + b'"',
    "no name": b"",
    "no text": bytes(range(256)),
    "half a character": b'name = "\xc3',
    "nested too deeply": b'name = "a"\nspace_arguments = { x = '
    + b"[" * 5000
    + b"]" * 5000
    + b" }",
    "a number beyond every type": b'name = "a"\nseed = ' + b"9" * 5000,
    "no finite number": b'name = "a"\n[budget]\nmax_seconds = nan',
    "a project that climbs": b'name = "a"\n[tracking]\nproject = "../x"',
    "a space that is a path": b'name = "a"\nspace = "../../x:build"',
    "a space that is a call": b'name = "a"\nspace = "os:system(\'true\')"',
}


@pytest.mark.parametrize("what", STUDIES)
def test_study_files_that_do_harm_are_refused(
    what: str, tmp_path: Path, trap: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "study.toml"
    path.write_bytes(STUDIES[what])
    folder = tmp_path / "store"
    if what.startswith("a space"):
        folder_of = ["--storage.folder", str(folder), "--workers.executor", "inline"]
        assert_refused([str(path), *folder_of], capsys, trap)
    else:
        assert_refused([str(path), "--storage.folder", str(folder)], capsys, trap)
        assert not folder.exists()


def mutate(text: str, rng: random.Random) -> bytes:
    """Damage a study file in one to four places, as an editor, a merge or a disk may."""
    lines = text.splitlines()
    for _ in range(rng.randint(1, 4)):
        place = rng.randrange(len(lines))
        match rng.randrange(7):
            case 0:
                lines[place] = lines[place][: rng.randrange(len(lines[place]) + 1)]
            case 1:
                lines.insert(place, lines[rng.randrange(len(lines))])
            case 2:
                lines[place] = lines[place].replace("=", rng.choice(["", "==", ":", "= ="]))
            case 3:
                junk = rng.choice(["nan", "-1", "1e999", '"../x"', "[]", "{}", "true", "''", "2.5"])
                lines[place] = f"{lines[place].partition('=')[0]}= {junk}"
            case 4:
                lines[place] = "".join(rng.sample(lines[place], len(lines[place])))
            case 5:
                lines.insert(place, f"[{rng.choice(['budget', 'data', 'x', 'data.y', 'split'])}]")
            case _:
                lines[place] += rng.choice(["\x00", "\x7f", "é", "#", '"', "'''", "]"])
    return "\n".join(lines).encode()


def test_a_damaged_study_file_is_a_study_or_one_sentence() -> None:
    from search.config import load_config  # noqa: PLC0415
    from search.errors import ConfigError  # noqa: PLC0415

    rng = random.Random(4)
    refused = 0
    folder = Path(os.environ.get("TMPDIR", "/tmp"))  # noqa: S108
    path = folder / f"mutated-{os.getpid()}.toml"
    try:
        for _ in range(MUTATIONS):
            path.write_bytes(mutate(QUICKSTART, rng))
            try:
                load_config(path)
            except ConfigError:
                refused += 1
    finally:
        path.unlink()
    assert MUTATIONS / 2 < refused < MUTATIONS


def test_a_store_with_links_in_it_is_refused(
    tmp_path: Path, trap: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "trial_00000.checkpoint").write_text("precious")
    folder = tmp_path / "store"
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "checkpoints" / "hostile").symlink_to(elsewhere)
    study = tmp_path / "study.toml"
    study.write_text('name = "hostile"\n')
    said = assert_refused([str(study), "--storage.folder", str(folder)], capsys, trap)
    assert "symbolic link" in said
    assert [path.name for path in elsewhere.iterdir()] == ["trial_00000.checkpoint"]


@pytest.mark.parametrize(
    "line", [b"not JSON", b'{"kind": 1}', b"[]", b'{"kind": "class__", "time_ms": 1}', b"\xff\xfe"]
)
def test_a_spool_that_holds_no_records_is_refused(
    line: bytes, tmp_path: Path, trap: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from search.driver.tracking.spool import Spool  # noqa: PLC0415
    from search.errors import TrackingError  # noqa: PLC0415

    path = tmp_path / "har.jsonl"
    path.write_bytes(line + b"\n")
    with pytest.raises(TrackingError, match=r"har\.jsonl"):
        Spool(path, 2**20)
