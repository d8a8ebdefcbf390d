"""Loads study files: merged schemas, every error at once, defaults filled, paths resolved."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from consilience.attribution.names import MethodFacts
from consilience.domains import has_module, slices
from consilience.errors import ConsilienceError, nearest
from consilience.study_checks import (
    completed,
    contradictions,
    excesses,
    paths,
    problems,
    resolve,
    sound,
    unknown_methods,
    unsuited_methods,
)
from consilience.yaml_files import read_yaml

SCHEMAS = Path(__file__).parent / "schemas"
METHOD_KEYS = tuple(fact.name for fact in fields(MethodFacts))
RESERVED = ("report",)  # folders of results/ that hold what is of all studies
NOT_STUDIES = (*RESERVED, "index", "provenance")  # nor may a study's page take the place of another
CHAIN = ("domain", "split", "models", "training", "attribution", "faithfulness", "linear", "consensus")


@dataclass(frozen=True)
class Study:
    """One checked study: its settings with defaults filled and paths absolute.

    `raw` are the files and folders the source names, `tables` the others that preparation reads (keyword lists, say),
    `encoders` those that only encoding reads.
    """

    name: str
    file: Path
    settings: dict[str, Any]
    raw: tuple[str, ...]
    tables: tuple[str, ...]
    encoders: tuple[str, ...]

    @property
    def domain(self) -> str:
        """The name of the slice."""
        return self.settings["domain"]

    @property
    def source(self) -> dict[str, Any]:
        """The source with its kind."""
        return self.settings["source"]

    @property
    def simulated(self) -> bool:
        """Whether the data are simulated, so that the truth is known."""
        return self.source["kind"] == "simulate"

    @property
    def models(self) -> list[str]:
        """The models in the order of the study file."""
        return list(self.settings["models"])

    @property
    def voters(self) -> list[str]:
        """The models that take part in the consensus."""
        return [name for name, model in self.settings["models"].items() if model["consensus"]]

    @property
    def explained(self) -> list[str]:
        """The models that are explained, the voters among them; the others are trained and tested alone."""
        return [name for name, model in self.settings["models"].items() if model["explain"]]

    @property
    def methods(self) -> list[str]:
        """The attribution methods."""
        return self.settings["attribution"]["methods"]

    @property
    def primary(self) -> str:
        """The method whose lists form the consensus."""
        return self.settings["attribution"]["primary"]

    @property
    def own_methods(self) -> dict[str, dict[str, Any]]:
        """The facts of the attribution methods that the slice adds, by name."""
        return own_methods(self.domain)

    @property
    def encoded(self) -> bool:
        """Whether the slice encodes the dataset after the split."""
        return has_module(self.domain, "encode")

    @property
    def preparation(self) -> dict[str, Any]:
        """The part of the settings that preparation sees: all but the chain's and what comes after it.

        Of the chain's sections, the keys that the slice's schema names under `preparation`.
        """
        return self._before("encoding", "analysis") | {
            section: {key: self.settings[section][key] for key in keys}
            for section, keys in slice_schema(self.domain).get("preparation", {}).items()
        }

    @property
    def encoding(self) -> dict[str, Any]:
        """The part of the settings that encoding sees: that of preparation, and the slice's keys of `encoding`."""
        return self._before("analysis")

    def _before(self, *stages: str) -> dict[str, Any]:
        schema = slice_schema(self.domain)
        later = {*CHAIN, *(key for stage in stages for key in schema.get(stage, []))}
        return {key: value for key, value in self.settings.items() if key not in later}

    @property
    def simulation(self) -> dict[str, Any]:
        """The part of the settings that the slice's simulate step sees: source, seed, and the keys its schema names."""
        keys = ("source", "seed", *slice_schema(self.domain).get("simulation", []))
        return {key: self.settings[key] for key in keys if key in self.settings}

    @property
    def downloads(self) -> list[dict[str, str]]:
        """The files to download, each with url and sha256; empty for other sources."""
        if self.source["kind"] != "url":
            return []
        return self.source.get("files") or [{key: self.source[key] for key in ("url", "sha256")}]


def load_studies(directory: Path, names: Iterable[str] | str | None = None) -> dict[str, Study]:
    """Load the studies of a folder, or those named; raises one ConsilienceError with a line for every fault."""
    directory = Path(directory)
    if not directory.is_dir():
        problem = "not a folder" if directory.exists() else "no such folder"
        raise ConsilienceError(f"{directory}: {problem}; no study found")
    found = {path.stem: path for path in sorted(directory.glob("*.yaml")) if not path.name.startswith(".")}
    wanted = [names] if isinstance(names, str) else list(found if names is None else names)
    if not wanted and names is not None:
        raise ConsilienceError("studies: an empty list picks no study")
    if not wanted:
        raise ConsilienceError(f"{directory}: no study found; expected files such as expression.yaml")
    studies, errors = {}, []
    for name in dict.fromkeys(wanted):
        try:
            if name not in found:
                raise ConsilienceError(f"studies: no study {name!r} in {directory}{nearest(name, found)}")
            studies[name] = load_study(found[name])
        except ConsilienceError as error:
            errors.append(str(error))
    if errors:
        raise ConsilienceError("\n".join(errors))
    return studies


def load_study(path: Path) -> Study:
    """Load, check and complete one study file; raises one ConsilienceError with a line for every fault."""
    if not re.fullmatch(r"[A-Za-z0-9_]+", path.stem) or path.stem.lower() in NOT_STUDIES:
        names = ", ".join(NOT_STUDIES)
        raise ConsilienceError(f"{path}: a study is named by letters, digits and _, not {names}; rename the file")
    settings, faults = read_yaml(path), []
    try:
        schema = merged_schema(path, settings)
    except ConsilienceError as error:
        faults.append(str(error))
        schema = _partial_schema(settings)
    try:
        if isinstance(settings.get("models"), str) and _is_domain(settings.get("domain")):
            settings["models"] = _preset(path, settings["domain"], settings["models"])
    except ConsilienceError as error:
        faults.append(str(error))
        del settings["models"]
        schema["required"].remove("models")
    lines = problems(settings, schema)
    # What the schema refuses cannot be judged further; the rest is, so that all faults are told at once.
    settings = sound(completed(settings, schema), schema)
    lines += [*resolve(settings, schema, path.parent), *contradictions(settings)]
    lines += excesses(settings, schema)
    domain = settings.get("domain")
    if _is_domain(domain):
        lines += unsuited_methods(settings, slice_schema(domain).get("unsuited", {}))
    lines += unknown_methods(settings, own_methods(domain) if _is_domain(domain) else {}, schema)
    faults += [f"{path}: {line}" for line in lines]
    if faults:
        raise ConsilienceError("\n".join(faults))
    own = {key: value for key, value in settings.items() if key not in (*CHAIN, "source")}
    later = {key: own.pop(key) for key in slice_schema(domain).get("encoding", []) if key in own}
    parts = [tuple(paths(part, schema)) for part in ({"source": settings["source"]}, own, later)]
    return Study(path.stem, path, settings, *parts)


def check_config(config: Mapping[str, Any], file: str = "config.yaml or --config") -> dict[str, Any]:
    """Check config.yaml together with --config, and return it with defaults filled."""
    schema = read_yaml(SCHEMAS / "config.schema.yaml")
    if lines := problems(dict(config), schema):
        raise ConsilienceError("\n".join(f"{file}: {line}" for line in lines))
    return completed(dict(config), schema)


def slice_schema(domain: str) -> dict[str, Any]:
    """Read a slice's schema.yaml.

    It has `sources` by kind, `properties`, `required`, the keys that `simulation` depends on, those of the chain's
    sections that `preparation` sees, those that `encoding` sees and preparation does not, those that only the slice's
    `analysis` sees, the facts of its own attribution `methods`, and those of all domains' that are `unsuited` for its
    networks, with the reason.
    """
    return read_yaml(slices()[domain] / "schema.yaml")


def own_methods(domain: str) -> dict[str, dict[str, Any]]:
    """Return the facts of a slice's own attribution methods by name, without their descriptions.

    Raises ConsilienceError for a key that is no fact.
    """
    methods = slice_schema(domain).get("methods", {})
    for name, facts in methods.items():
        for key in facts.keys() - {"description", *METHOD_KEYS}:
            known = ", ".join(METHOD_KEYS)
            file = slices()[domain] / "schema.yaml"
            raise ConsilienceError(
                f"{file}: methods.{name}.{key}: unknown key; expected {known}{nearest(key, METHOD_KEYS)}"
            )
    return {name: {key: fact for key, fact in facts.items() if key != "description"} for name, facts in methods.items()}


def merged_schema(path: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Merge the shared schema with that of the slice and of the source's kind that `settings` name."""
    domain, source = settings.get("domain"), settings.get("source")
    if not _is_domain(domain):
        raise ConsilienceError(f"{path}: domain: {_choose(domain, slices(), 'no domain')}")
    sources = slice_schema(domain)["sources"]
    if source is not None and not isinstance(source, dict):
        kinds = ", ".join(sources)
        raise ConsilienceError(f"{path}: source: {source!r} is not keys and values; expected a kind among {kinds}")
    kind = source.get("kind") if source else None
    if not isinstance(kind, str) or kind not in sources:
        raise ConsilienceError(f"{path}: source.kind: {_choose(kind, sources, f'no source of {domain}')}")
    merged = _shared_schema(domain)
    chosen = _merge(sources[kind], {"properties": {"kind": {"const": kind}}})
    merged["properties"]["source"] = _merge(merged["properties"]["source"], chosen)
    return merged


def _is_domain(domain: Any) -> bool:
    return isinstance(domain, str) and domain in slices()


def _choose(value: Any, known: Iterable[str], role: str) -> str:
    """Return what is wrong with a value that is not among the `known`."""
    problem = "missing" if value is None else f"{value!r} is {role}"
    return f"{problem}; expected one of {', '.join(known)}{nearest(str(value), known)}"


def _shared_schema(domain: str) -> dict[str, Any]:
    """Return the shared schema with the slice's own keys, before its sources."""
    own = slice_schema(domain)
    extra = {"properties": own.get("properties", {}), "required": own.get("required", [])}
    return _merge(read_yaml(SCHEMAS / "study.schema.yaml"), extra)


def _partial_schema(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return what can be checked of a study whose domain or source is refused."""
    if _is_domain(settings.get("domain")):
        schema = _shared_schema(settings["domain"])
        schema["properties"]["source"] = {}
        schema["required"].remove("source")
        return schema
    shared = read_yaml(SCHEMAS / "study.schema.yaml")
    unextended = ("training", "attribution", "faithfulness", "linear", "consensus")
    return {"properties": {key: shared["properties"][key] for key in unextended}}


def _merge(base: Any, extra: Any) -> Any:
    """Merge schemas: mappings key by key, lists joined, anything else and defaults replaced."""
    if isinstance(base, dict) and isinstance(extra, dict):
        return {
            key: _merge(base[key], extra[key])
            if key in base and key in extra and key != "default"
            else extra.get(key, base.get(key))
            for key in [*base, *(key for key in extra if key not in base)]
        }
    if isinstance(base, list) and isinstance(extra, list):
        return [*base, *(item for item in extra if item not in base)]
    return extra


def _preset(path: Path, domain: str, name: str) -> dict[str, Any]:
    file = slices()[domain] / "presets.yaml"
    presets = read_yaml(file)["models"] if file.is_file() else {}
    if name not in presets:
        raise ConsilienceError(
            f"{path}: models: {name!r} is no preset of {domain}; expected a mapping of models or one of "
            f"{', '.join(presets) or 'none'}{nearest(name, presets)}"
        )
    return deepcopy(presets[name])
