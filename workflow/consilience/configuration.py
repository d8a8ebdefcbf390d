"""Loads study files: merged schemas, every error at once, defaults filled, paths resolved."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from consilience.attribution.names import METHOD_NAMES
from consilience.domains import has_module, slices
from consilience.errors import ConsilienceError, nearest

SCHEMAS = Path(__file__).parent / "schemas"
SHIPPED = Path(__file__).resolve().parents[2] / "resources"
CHAIN = ("domain", "split", "models", "training", "attribution", "linear", "consensus")


@dataclass(frozen=True)
class Study:
    """One checked study: its settings with defaults filled and paths absolute.

    `raw` are the files and folders the source names, `tables` the others that preparation reads (keyword lists, say).
    """

    name: str
    file: Path
    settings: dict[str, Any]
    raw: tuple[str, ...]
    tables: tuple[str, ...]

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
    def methods(self) -> list[str]:
        """The attribution methods."""
        return self.settings["attribution"]["methods"]

    @property
    def primary(self) -> str:
        """The method whose lists form the consensus."""
        return self.settings["attribution"]["primary"]

    @property
    def encoded(self) -> bool:
        """Whether the slice encodes the dataset after the split."""
        return has_module(self.domain, "encode")

    @property
    def preparation(self) -> dict[str, Any]:
        """The part of the settings that the slice's own steps see: all but the chain's sections."""
        return {key: value for key, value in self.settings.items() if key not in CHAIN}

    @property
    def downloads(self) -> list[dict[str, str]]:
        """The files to download, each with url and sha256; empty for other sources."""
        if self.source["kind"] != "url":
            return []
        return self.source.get("files") or [{key: self.source[key] for key in ("url", "sha256")}]


def load_studies(directory: Path, names: Iterable[str] | str | None = None) -> dict[str, Study]:
    """Load the studies of a folder, or those named; raises one ConsilienceError with a line for every fault."""
    found = {path.stem: path for path in sorted(Path(directory).glob("*.yaml"))}
    wanted = [names] if isinstance(names, str) else list(found if names is None else names)
    if not wanted:
        raise ConsilienceError(f"{directory}: no study found; expected files such as expression.yaml")
    unknown = [name for name in wanted if name not in found]
    if unknown:
        lines = (f"studies: no study {name!r} in {directory}{nearest(name, found)}" for name in unknown)
        raise ConsilienceError("\n".join(lines))
    studies, errors = {}, []
    for name in wanted:
        try:
            studies[name] = load_study(found[name])
        except ConsilienceError as error:
            errors.append(str(error))
    if errors:
        raise ConsilienceError("\n".join(errors))
    return studies


def load_study(path: Path) -> Study:
    """Load, check and complete one study file."""
    if not re.fullmatch(r"[A-Za-z0-9_]+", path.stem):
        raise ConsilienceError(f"{path}: a study is named by letters, digits and _; rename the file")
    settings = _read_yaml(path)
    schema = merged_schema(path, settings)
    if isinstance(settings.get("models"), str):
        settings["models"] = _preset(path, settings["domain"], settings["models"])
    problems = list(_problems(settings, schema))
    if not problems:
        _fill(settings, schema)
        problems = [*_resolve(settings, schema, path.parent), *_contradictions(settings)]
    if problems:
        raise ConsilienceError("\n".join(f"{path}: {problem}" for problem in problems))
    own = {key: value for key, value in settings.items() if key not in (*CHAIN, "source")}
    raw, tables = (tuple(_paths(part, schema)) for part in ({"source": settings["source"]}, own))
    return Study(path.stem, path, settings, raw, tables)


def check_config(config: Mapping[str, Any], file: str = "config") -> dict[str, Any]:
    """Check config.yaml together with --config, and return it with defaults filled."""
    schema = _read_yaml(SCHEMAS / "config.schema.yaml")
    config = deepcopy(dict(config))
    problems = list(_problems(config, schema))
    if problems:
        raise ConsilienceError("\n".join(f"{file}: {problem}" for problem in problems))
    _fill(config, schema)
    return config


def slice_schema(domain: str) -> dict[str, Any]:
    """Read a slice's schema.yaml: `sources` by kind, `properties` and `required`."""
    return _read_yaml(slices()[domain] / "schema.yaml")


def merged_schema(path: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Merge the shared schema with that of the slice and of the source's kind that `settings` name."""
    domain, source = settings.get("domain"), settings.get("source")
    if domain not in slices():
        problem = "no domain; expected one of" if domain is None else f"{domain!r} is no domain; expected one of"
        raise ConsilienceError(f"{path}: domain: {problem} {', '.join(slices())}{nearest(str(domain), slices())}")
    own = slice_schema(domain)
    kind = source.get("kind") if isinstance(source, dict) else None
    if kind not in own["sources"]:
        raise ConsilienceError(
            f"{path}: source.kind: {kind!r} is no source of {domain}; expected one of {', '.join(own['sources'])}"
            f"{nearest(str(kind), own['sources'])}"
        )
    shared = _read_yaml(SCHEMAS / "study.schema.yaml")
    merged = _merge(shared, {"properties": own.get("properties", {}), "required": own.get("required", [])})
    chosen = _merge(own["sources"][kind], {"properties": {"kind": {"const": kind}}})
    merged["properties"]["source"] = _merge(merged["properties"]["source"], chosen)
    return merged


def _merge(base: Any, extra: Any) -> Any:
    """Merge schemas: mappings key by key, lists joined, anything else replaced."""
    if isinstance(base, dict) and isinstance(extra, dict):
        return {
            key: _merge(base[key], extra[key]) if key in base and key in extra else base.get(key, extra.get(key))
            for key in [*base, *(key for key in extra if key not in base)]
        }
    if isinstance(base, list) and isinstance(extra, list):
        return [*base, *(item for item in extra if item not in base)]
    return extra


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f"line {mark.line + 1}: " if mark else ""
        raise ConsilienceError(f"{path}: {line}not valid YAML ({getattr(error, 'problem', error)})") from error
    if not isinstance(content, dict):
        raise ConsilienceError(f"{path}: expected keys and values, found {type(content).__name__}")
    return content


def _preset(path: Path, domain: str, name: str) -> dict[str, Any]:
    file = slices()[domain] / "presets.yaml"
    presets = _read_yaml(file)["models"] if file.is_file() else {}
    if name not in presets:
        raise ConsilienceError(
            f"{path}: models: {name!r} is no preset of {domain}; expected a mapping of models or one of "
            f"{', '.join(presets) or 'none'}{nearest(name, presets)}"
        )
    return deepcopy(presets[name])


def _problems(settings: Any, schema: dict[str, Any]) -> Iterator[str]:
    """Yield a line for every fault of `settings`: key, value, what was expected."""
    validator = jsonschema.Draft202012Validator(schema)
    for error in sorted(validator.iter_errors(settings), key=lambda error: [str(part) for part in error.absolute_path]):
        key = ".".join(str(part) for part in error.absolute_path)
        if error.validator == "additionalProperties":
            known = error.schema.get("properties", {})
            for name in error.instance:
                if name not in known:
                    where = f"{key}.{name}" if key else str(name)
                    yield f"{where}: unknown key{nearest(name, known) or '; expected ' + ', '.join(known)}"
        elif error.validator == "required":
            missing = [name for name in error.validator_value if name not in error.instance]
            yield f"{key + '.' if key else ''}{missing[0]}: missing; it has no default"
        elif error.validator == "type" and isinstance(error.instance, str) and _is_number(error.instance):
            yield (
                f"{key}: {error.instance!r} is text to YAML; write a number with a dot and a signed exponent, "
                f"such as {float(error.instance):.1e}"
            )
        elif error.validator == "enum":
            choices = [str(choice) for choice in error.validator_value]
            yield f"{key}: {error.instance!r} is not one of {', '.join(choices)}{nearest(str(error.instance), choices)}"
        else:
            expected = error.schema.get("description", "")
            yield f"{key}: {error.message}{f' ({expected.strip()})' if expected else ''}"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _fill(settings: dict[str, Any], schema: dict[str, Any]) -> None:
    """Fill the defaults of a checked mapping, at every depth."""
    for key, part in schema.get("properties", {}).items():
        if key not in settings and "default" in part:
            settings[key] = deepcopy(part["default"])
    for key, value in settings.items():
        part = schema.get("properties", {}).get(key, schema.get("additionalProperties"))
        if isinstance(value, dict) and isinstance(part, dict):
            _fill(value, part)


def _paths(value: Any, schema: Any) -> Iterator[str]:
    """Yield the path-valued settings of a checked and resolved mapping."""
    for key, part in value.items():
        described = schema.get("properties", {}).get(key, schema.get("additionalProperties"))
        if isinstance(described, dict) and isinstance(part, dict):
            yield from _paths(part, described)
        elif isinstance(described, dict) and _is_path(described) and part is not None:
            yield part


def _is_path(schema: Mapping[str, Any]) -> bool:
    return schema.get("format") == "path"


def _resolve(settings: dict[str, Any], schema: dict[str, Any], folder: Path, key: str = "") -> Iterator[str]:
    """Make paths absolute, relative ones to the study file's folder; yield a line for each that does not exist.

    A value that a schema marks `shipped: <folder>` may also be the bare name of a text file in resources/<folder>.
    """
    for name, value in settings.items():
        part = schema.get("properties", {}).get(name, schema.get("additionalProperties"))
        where = f"{key}.{name}" if key else name
        if isinstance(value, dict) and isinstance(part, dict):
            yield from _resolve(value, part, folder, where)
        elif isinstance(part, dict) and _is_path(part) and isinstance(value, str):
            shipped = SHIPPED / part.get("shipped", "") / f"{value}.txt"
            choices = [(folder / Path(value).expanduser()).resolve()]
            choices += [shipped] if "shipped" in part and Path(value).name == value else []
            existing = [path for path in choices if path.exists()]
            if existing:
                settings[name] = str(existing[0])
            else:
                yield f"{where}: {value}: no such file or folder (looked for {' and '.join(map(str, choices))})"


def _contradictions(settings: dict[str, Any]) -> Iterator[str]:
    """Yield a line for every pair of keys that cannot both hold."""
    split, attribution, models = settings["split"], settings["attribution"], settings["models"]
    shares = sum(split[role] for role in ("train", "validation", "test"))
    if abs(shares - 1) > 1e-9:
        yield f"split: train + validation + test is {shares:g}; expected 1"
    for method in dict.fromkeys([*attribution["methods"], attribution["primary"]]):
        if method not in METHOD_NAMES:
            known = f"expected some of {', '.join(METHOD_NAMES)}"
            yield f"attribution.methods: unknown method {method!r}; {known}{nearest(method, METHOD_NAMES)}"
    if attribution["primary"] not in attribution["methods"]:
        yield f"attribution.primary: {attribution['primary']!r} is not among attribution.methods"
    voters = sum(model["consensus"] for model in models.values())
    if voters < settings["consensus"]["minimum_models"]:
        yield f"consensus.minimum_models: {settings['consensus']['minimum_models']}, but {voters} models have a vote"
