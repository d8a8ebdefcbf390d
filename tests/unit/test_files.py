import hashlib
import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest

from consilience import files
from consilience.errors import ConsilienceError


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "table.tsv"
    files.write_table(path, pd.DataFrame({"gene": ["JUN"]}))
    with pytest.raises(RuntimeError), files.whole(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert os.listdir(tmp_path) == ["table.tsv"]
    assert files.read_table(path)["gene"].tolist() == ["JUN"]


def test_written_files_are_readable_by_others(tmp_path):
    files.write_json(tmp_path / "facts.json", {"a": 1})
    umask = os.umask(0)
    os.umask(umask)
    assert (tmp_path / "facts.json").stat().st_mode & 0o777 == 0o666 & ~umask


@pytest.mark.parametrize("suffix", [".tsv", ".csv", ".parquet"])
def test_tables_come_back(tmp_path, suffix):
    values = np.random.default_rng(0).normal(size=50).astype(np.float32)
    frame = pd.DataFrame({"feature": ["NA", "None", "nan", *map(str, range(47))], "value": values})
    files.write_table(tmp_path / f"table{suffix}", frame)
    back = files.read_table(tmp_path / f"table{suffix}", ("feature", "value"))
    assert back["feature"].tolist() == frame["feature"].tolist()
    assert (back["value"].astype(np.float32) == values).all()


def test_names_that_look_like_numbers_stay_names(tmp_path):
    frame = pd.DataFrame({"feature": ["17", "08"], "target": ["3", "4"], "rank": [1, 2]})
    files.write_table(tmp_path / "drivers.csv", frame)
    back = files.read_table(tmp_path / "drivers.csv")
    assert back["feature"].tolist() == ["17", "08"]
    assert back["target"].tolist() == ["3", "4"]
    assert back["rank"].tolist() == [1, 2]


def test_a_table_must_have_its_columns(tmp_path):
    files.write_table(tmp_path / "split.tsv", pd.DataFrame({"sample": ["a"]}))
    with pytest.raises(ConsilienceError, match=r"split\.tsv: no column group, role; it has sample"):
        files.read_table(tmp_path / "split.tsv", ("sample", "group", "role"))


def test_json_refuses_what_it_cannot_hold(tmp_path):
    with pytest.raises(ConsilienceError, match="null"):
        files.write_json(tmp_path / "metrics.json", {"r2": float("nan")})
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "no such file"), (b"gene,count\nJUN,3\n", "not an HDF5 file"), ("cut", "damaged or truncated")],
)
def test_hdf5_that_is_none_is_one_clear_line(tmp_path, content, message):
    path = tmp_path / "input.h5"
    if content == "cut":
        with h5py.File(path, "w") as file:
            file["data"] = np.arange(10_000)
        path.write_bytes(path.read_bytes()[:5_000])
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(ConsilienceError, match=message) as caught, files.read_h5(path):
        pass
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_tensors_and_facts_come_back_with_the_same_bytes(tmp_path):
    tensors = {f"layer/{name}": np.random.default_rng(0).normal(size=(3, 4)) for name in "dcba"}
    facts = {"members": [{"seed": 1}], "model": "mlp", "outputs": 1}
    digests = set()
    for number in range(5):
        path = tmp_path / f"{number}.safetensors"
        files.write_tensors(path, dict(sorted(tensors.items(), reverse=number % 2 == 0)), facts)
        digests.add(hashlib.sha256(path.read_bytes()).hexdigest())
    assert len(digests) == 1
    back, back_facts = files.read_tensors(path)
    assert back_facts == facts
    assert all((back[name] == tensors[name]).all() for name in tensors)


def test_a_damaged_tensor_file_is_refused(tmp_path):
    (tmp_path / "weights.safetensors").write_bytes(b"\x00" * 20)
    with pytest.raises(ConsilienceError, match="not a whole safetensors file"):
        files.read_tensors(tmp_path / "weights.safetensors")


def test_a_folder_appears_when_it_is_whole(tmp_path):
    path = tmp_path / "raw"
    with files.whole_folder(path) as temporary:
        (temporary / "pairs.csv").write_text("a")
        assert not path.exists()
    assert os.listdir(path) == ["pairs.csv"]
    umask = os.umask(0)
    os.umask(umask)
    assert path.stat().st_mode & 0o777 == 0o777 & ~umask
    with files.whole_folder(path) as temporary:
        (temporary / "other.csv").write_text("b")
    assert os.listdir(path) == ["other.csv"]


def test_a_folder_that_fails_leaves_the_old_one_and_nothing_else(tmp_path):
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "old").touch()
    with pytest.raises(RuntimeError), files.whole_folder(tmp_path / "raw") as temporary:
        (temporary / "half").touch()
        raise RuntimeError
    assert os.listdir(tmp_path) == ["raw"]
    assert os.listdir(tmp_path / "raw") == ["old"]


def test_what_a_killed_job_left_is_swept_away_and_no_more(tmp_path):
    left = [".drivers.abcd_123.csv", ".raw.zzzzzzzz"]
    others = [
        ".drivers.old.abcd_123.csv",
        ".top_drivers.abcd_123.csv",
        ".drivers.abcd_123.tsv",
        ".drivers.csv",
        ".raw.x",
    ]
    (tmp_path / left[1]).mkdir()
    (tmp_path / left[1] / "half").touch()
    for name in (left[0], *others):
        (tmp_path / name).touch()
    with files.whole(tmp_path / "drivers.csv"), files.whole_folder(tmp_path / "raw"):
        pass
    assert set(os.listdir(tmp_path)) == {"drivers.csv", "raw", *others}


def test_a_temporary_is_one_that_is_swept_away(tmp_path):
    """The names that tempfile gives are those the pattern finds."""
    for _ in range(50):
        with files.whole(tmp_path / "drivers.csv") as temporary:
            name = temporary.name
        (tmp_path / name).touch()
    files._left_in.cache_clear()
    with files.whole(tmp_path / "drivers.csv"):
        pass
    assert os.listdir(tmp_path) == ["drivers.csv"]


@pytest.mark.parametrize("kind", [files.whole, files.whole_folder])
def test_a_guard_may_forbid_a_name(tmp_path, kind):
    def guard():
        raise ConsilienceError("not yours any more")

    for _ in range(2):  # nothing lies there, and what the later run has made
        before = {path.name: path.stat().st_ino for path in tmp_path.iterdir()}
        with files.guarded(guard), pytest.raises(ConsilienceError, match="not yours"), kind(tmp_path / "raw"):
            pass
        assert {path.name: path.stat().st_ino for path in tmp_path.iterdir()} == before
        with kind(tmp_path / "raw"):
            pass
        assert os.listdir(tmp_path) == ["raw"]


def test_weights_that_find_the_disk_full_are_an_error_of_the_system(tmp_path):
    """Of the system's own words: a file may not grow beyond a limit."""
    code = (
        "import resource, signal, sys, numpy\n"
        "from consilience.files import write_tensors\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try:\n"
        "    write_tensors(sys.argv[1], {'weight': numpy.zeros(10_000)}, {})\n"
        "except OSError as error:\n"
        "    print(error)\n"
    )
    library = {**os.environ, "PYTHONPATH": str(Path(files.__file__).parents[1])}
    words = [sys.executable, "-c", code, tmp_path / "a.safetensors"]
    run = subprocess.run(words, capture_output=True, text=True, env=library)
    assert "File too large" in run.stdout, run.stderr
    assert not os.listdir(tmp_path)
