"""The files of a study, and a check of the paths a person asks for before Snakemake says only that no rule fits."""

from __future__ import annotations

import os.path
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import PurePosixPath
from types import MappingProxyType
from urllib.parse import urlparse

from consilience.configuration import RESERVED, Study
from consilience.errors import ConsilienceError, nearest

MODEL_FILES = ("ensemble.safetensors", "members.tsv", "history.tsv", "predictions.tsv", "metrics.json")
STUDY_FILES = (
    "dataset.h5",
    "audit.tsv",
    "split.tsv",
    "split.json",
    "split_audit.tsv",
    "linear/coefficients.tsv",
    "linear/predictions.tsv",
    "linear/metrics.json",
    "top_matrix.csv",
    "drivers.csv",
    "top_drivers.csv",
    "overlap.csv",
    "venn_positive.png",
    "venn_negative.png",
    "figures/loss.png",
    "figures/prediction.png",
    "figures/linear.png",
    "figures/top_drivers_positive.png",
    "figures/top_drivers_negative.png",
)
# Folders of a study in which only explained models have files.
EXPLANATIONS = ("attributions", "top", "faithfulness")
PATTERN = re.compile(r"results/(?P<study>[^/]+)/(?:(?P<stage>models|attributions)/(?P<model>[^/]+)/)?.+$")


def targets_of(study: Study) -> Iterator[str]:
    """Yield every file that the chain makes of a study."""
    base = f"results/{study.name}"
    yield from (f"{base}/{file}" for file in STUDY_FILES)
    if study.simulated:
        yield from (f"{base}/{file}" for file in ("truth.tsv", "recovery.tsv", "figures/recovery.png"))
    if study.encoded:
        yield from (f"{base}/{file}" for file in ("encoded.h5", "encoded.json"))
    for model in study.models:
        yield from (f"{base}/models/{model}/{file}" for file in MODEL_FILES)
    for model in study.explained:
        yield from explanations_of(study, model)


def explanations_of(study: Study, model: str) -> Iterator[str]:
    """Yield every file that the chain makes of an explained model beside those of its training."""
    base = f"results/{study.name}"
    yield from (f"{base}/attributions/{model}/{method}.h5" for method in study.methods)
    yield from (f"{base}/top/{model}_{direction}.csv" for direction in ("positive", "negative"))
    yield f"{base}/figures/top_{model}.png"
    yield from (f"{base}/faithfulness/{model}{part}.tsv" for part in ("", "_curves"))
    yield f"{base}/figures/faithfulness_{model}.png"


def downloads_of(study: Study) -> list[dict[str, str]]:
    """Return the files a study downloads, each with url, sha256 and path; what studies share is fetched once."""
    files = []
    for file in study.downloads:
        name = PurePosixPath(urlparse(file["url"]).path).name
        if not name:
            raise ConsilienceError(f"{study.file}: source.url: {file['url']} names no file")
        files.append({**file, "path": f"resources/downloads/{file['sha256'][:16].lower()}/{name}"})
    return files


def check_targets(
    arguments: Iterable[str],
    studies: Mapping[str, Study],
    extra: Mapping[str, Collection[str]],
    on_request: Mapping[str, Collection[str]] = MappingProxyType({}),
) -> None:
    """Refuse a path under results/ that no rule makes, with the nearest names.

    `arguments` are those of the command line; what is no such path (options, rules, reports) is passed over. `extra`
    are the files that the slices' own rules make, by study, and `on_request` those that are made only when asked for:
    paths, in which {name} stands for any text without a slash.
    """
    for match in filter(None, (PATTERN.match(os.path.normpath(argument)) for argument in arguments)):
        path, name, model = match[0], match["study"], match["model"]
        if path.endswith((".html", ".zip")) or name in RESERVED:
            continue
        if name not in studies:
            raise ConsilienceError(f"{path}: {_unknown('study', name, studies)}")
        study = studies[name]
        if model and model not in study.models:
            raise ConsilienceError(f"{path}: {_unknown('model', model, study.models)} in study {name}")
        for one in (one for one in study.models if one not in study.explained):
            if path in explanations_of(study, one) or (match["stage"] == "attributions" and model == one):
                explained = ", ".join(study.explained)
                raise ConsilienceError(f"{path}: model {one} of study {name} is not explained; expected {explained}")
        method = PurePosixPath(path).name.removesuffix(".h5")
        if match["stage"] == "attributions" and method not in study.methods:
            raise ConsilienceError(f"{path}: {_unknown('method', method, study.methods)} in study {name}")
        known = {*targets_of(study), f"results/{name}/raw", *extra.get(name, ())}
        asked = on_request.get(name, ())
        if path not in known and not any(_stands_for(pattern, path) for pattern in asked):
            raise ConsilienceError(f"{path}: study {name} has no such file{nearest(path, known.union(asked))}")


def _stands_for(pattern: str, path: str) -> bool:
    """Say whether a path is what a pattern stands for, {name} being any text without a slash."""
    parts = (re.escape(part) for part in re.split(r"\{[^{}]*\}", pattern))
    return re.fullmatch("[^/]+".join(parts), path) is not None


def _unknown(kind: str, name: str, known: Iterable[str]) -> str:
    return f"no {kind} {name!r} among {', '.join(known)}{nearest(name, known)}"
