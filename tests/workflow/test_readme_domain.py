"""The domain that README.md shows is a domain: its blocks, as they stand there, find what they plant."""

import re
import shutil
from io import StringIO

import numpy as np
import pandas as pd
import pytest
import yaml
from run_workflow import ROOT, snakemake
from scipy.io import wavfile

from consilience.files import read_table

pytestmark = pytest.mark.workflow
MOST_LINES = 80
SECTION = (ROOT / "README.md").read_text(encoding="utf-8").split("\n## Add a domain\n")[1].split("\n## ")[0]
FILES = dict(re.findall(r"^`((?:domains|studies)/[\w./]+)`\n\n```\w+\n(.*?)^```$", SECTION, re.DOTALL | re.MULTILINE))
DRIVERS = "results/songs/drivers.csv"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with the files that the README shows, run as far as the drivers."""
    place = tmp_path_factory.mktemp("readme")
    for name, text in FILES.items():
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    run(place, place / "work")
    return place


def run(place, work):
    snakemake(work, DRIVERS, studies=place / "studies", domains=place / "domains", check=True)


def test_it_is_short_and_whole():
    assert {name.split("/")[-1] for name in FILES} == {
        "schema.yaml", "simulate.py", "prepare.py", "model.py", "songs.yaml",
    }  # fmt: skip
    lines = sum(len(text.splitlines()) for text in FILES.values())
    assert lines < MOST_LINES
    assert f"five files, {lines} lines" in SECTION


def test_its_planted_drivers_lead_with_their_signs(place):
    drivers = read_table(place / "work" / DRIVERS)
    assert dict(zip(drivers["feature"][:2], drivers["direction"][:2], strict=True)) == {
        "5.25 kHz": "positive",
        "2.75 kHz": "negative",
    }
    assert set(drivers["target"]) == {"wren"}
    # Far ahead of the third, which nobody planted.
    strength = drivers["average_attribution"].abs()
    assert strength[1] > 2 * strength[2]
    shown = pd.read_csv(StringIO(re.search(r"```text\n(feature,.*?)```", SECTION, re.DOTALL)[1]))
    assert shown["feature"].tolist() == drivers["feature"][:2].tolist()
    assert np.allclose(shown["average_attribution"], drivers["average_attribution"][:2], rtol=0.2)


def test_it_reads_real_files(place):
    """The files are WAV to others too, and the birds sing where they were planted to."""
    peaks = {"robin": [], "wren": []}
    for path in sorted((place / "work" / "results" / "songs" / "raw").glob("*.wav")):
        rate, sound = wavfile.read(path)
        assert path.read_bytes()[:4] == b"RIFF"
        power = np.abs(np.fft.rfft(sound)) ** 2
        peaks[path.name.split("-")[0]].append(np.fft.rfftfreq(len(sound), 1 / rate)[power.argmax()])
    assert np.median(peaks["robin"]) == pytest.approx(2800, abs=2)
    assert np.median(peaks["wren"]) == pytest.approx(5300, abs=2)


def test_it_reads_a_folder_of_ones_own(place, tmp_path):
    """Named in the study file as the README says; a file at another rate ends in one line."""
    own = shutil.copytree(place / "work" / "results" / "songs" / "raw", tmp_path / "studies" / "my_recordings")
    study = yaml.safe_load(FILES["studies/songs.yaml"])
    study["source"] = {"kind": "folder", "path": "my_recordings"}
    (tmp_path / "studies" / "songs.yaml").write_text(yaml.safe_dump(study))
    slow = sorted(own.glob("*.wav"))[3]
    wavfile.write(slow, 8000, wavfile.read(slow)[1])
    target, options = "results/songs/dataset.h5", {"studies": tmp_path / "studies", "domains": place / "domains"}
    failed = snakemake(tmp_path / "work", target, **options)
    assert failed.returncode
    assert f"{slow.name}: 8000 Hz, 1 axes; expected 16000 Hz and one channel; log: " in failed.stdout
    slow.unlink()
    snakemake(tmp_path / "work", target, **options, check=True)
    assert (tmp_path / "work" / target).is_file()
