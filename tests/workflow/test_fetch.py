"""Raw files are fetched by themselves, however rough the line; everything else does without a network."""

import os
import re
import signal
import subprocess

import pytest
import yaml
from run_workflow import ROOT, STUDIES, command, jobs, no_network, snakemake

from consilience.configuration import load_study
from consilience.domains.expression.simulate import simulate as simulate_expression
from consilience.domains.fashion.simulate import simulate as simulate_fashion
from consilience.files import sha256
from tests.processes import wait
from tests.unit.file_server import serving

pytestmark = pytest.mark.workflow
GENES = "human_gene_simulated.h5"


@pytest.fixture
def offline():
    """The words before a command that take its network away."""
    return no_network() or pytest.skip("no process may be cut off from the network here (unshare --net)")


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    """Small raw files in the domains' native formats, by name."""
    folder = tmp_path_factory.mktemp("raw")
    simulate_expression(folder, load_study(STUDIES / "expression_tiny.yaml").simulation, seed=0)
    simulate_fashion(folder, load_study(STUDIES / "fashion_tiny.yaml").simulation, seed=0)
    return {path.name: path for path in folder.iterdir()}


class Place:
    """A user's studies and folder of work, and the server that their raw files come from."""

    def __init__(self, folder, server, raw):
        self.studies, self.work, self.server, self.raw = folder / "studies", folder / "work", server, raw
        self.studies.mkdir()

    def source(self, name, query=""):
        return {"url": self.server.url(name) + query, "sha256": sha256(self.raw[name])}

    def study(self, name, like, source):
        content = yaml.safe_load((STUDIES / f"{like}.yaml").read_text())
        content["source"] = {"kind": "url", **source}
        (self.studies / f"{name}.yaml").write_text(yaml.safe_dump(content))

    def run(self, *arguments, **options):
        return snakemake(self.work, *arguments, studies=self.studies, **options)

    def found(self, name="*"):
        return [path for path in (self.work / "resources" / "downloads").glob(f"*/{name}") if path.is_file()]

    def fetched(self, name=GENES):
        """Whether the file lies there as it is, and nothing else of it."""
        (path,) = self.found(f"{name}*")
        return path.name == name and path.read_bytes() == self.raw[name].read_bytes()


@pytest.fixture
def place(tmp_path, raw):
    with serving({name: path.read_bytes() for name, path in raw.items()}) as server:
        yield Place(tmp_path, server, raw)


def test_what_is_fetched_runs_to_its_end_and_is_reported_without_a_network(place, offline):
    place.study("mine", "expression_tiny", place.source(GENES, "?download=1"))
    place.server.plan[GENES] = ["drop"]
    place.run("fetch", check=True)
    assert place.fetched()
    first, second = place.server.asked[GENES]
    assert first is None
    assert re.fullmatch(r"bytes=[1-9]\d*-", second)
    place.run(before=offline, check=True)
    summary = (place.work / "results" / "summary.txt").read_text()
    assert "mine: IRF2BP2; 160 samples" in summary
    page = place.work / "report.html"
    place.run("--report", page, before=offline, check=True)
    for text in ("venn_positive", "top_drivers_negative", "summary"):
        assert text in page.read_text(encoding="utf-8")
    assert len(place.server.asked[GENES]) == 2


def test_where_there_is_no_network_the_line_says_where_to_fetch(place, offline):
    place.study("mine", "expression_tiny", place.source(GENES))
    run = place.run("results/mine/dataset.h5", before=offline)
    assert run.returncode != 0
    (line,) = [line for line in run.stdout.splitlines() if "Error in download" in line]
    assert "cannot be reached" in line
    assert "run snakemake fetch where there is one" in line
    assert place.server.asked[GENES] == []


def test_a_wrong_checksum_leaves_nothing_that_could_be_read(place):
    place.study("mine", "expression_tiny", {**place.source(GENES), "sha256": "0" * 64})
    run = place.run("fetch")
    assert run.returncode != 0
    (line,) = [line for line in run.stdout.splitlines() if "expected" in line]
    assert f"sha256 {sha256(place.raw[GENES])}, expected {'0' * 64}; the download was removed" in line
    assert place.found() == []
    place.study("mine", "expression_tiny", place.source(GENES))
    place.run("fetch", check=True)
    assert place.fetched()
    assert place.server.asked[GENES] == [None, None]


def test_several_studies_are_fetched_at_once_and_each_file_once(place):
    pictures = [name for name in place.raw if name != GENES]
    place.study("genes", "expression_tiny", place.source(GENES))
    place.study("genes_again", "expression_tiny", place.source(GENES))
    place.study("pictures", "fashion_tiny", {"files": [place.source(name) for name in pictures]})
    run = place.run("fetch", check=True)
    assert jobs(run.stdout) == {"download": 5, "fetch": 1}
    assert all(place.fetched(name) for name in place.raw)
    assert place.server.asked == {name: [None] for name in place.raw}
    assert "Nothing to be done" in place.run("fetch", check=True).stdout
    place.study("genes", "expression_tiny", place.source(GENES, "?mirror=2"))
    (place.studies / "genes_again.yaml").unlink()
    assert "Nothing to be done" in place.run("fetch", check=True).stdout
    assert place.server.asked == {name: [None] for name in place.raw}


def test_a_fetch_that_is_killed_is_continued(place):
    place.study("mine", "expression_tiny", place.source(GENES))
    place.server.plan[GENES] = ["stall"]
    words = command(place.work, "fetch", studies=place.studies)
    running = subprocess.Popen(words, cwd=ROOT, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip

    def begun():
        assert running.poll() is None
        return any(part.stat().st_size for part in place.found("*.part"))

    try:
        wait(begun, "the download to begin", every=0.1)
    finally:
        os.killpg(running.pid, signal.SIGKILL)
        running.wait()
    (part,) = place.found()
    left = part.read_bytes()
    assert place.raw[GENES].read_bytes().startswith(left)
    place.run("--unlock", check=True)
    place.run("fetch", check=True)
    assert place.fetched()
    assert place.server.asked[GENES] == [None, f"bytes={len(left)}-"]
