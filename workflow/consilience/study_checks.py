"""Checks the settings of a study: against their schema, the paths they name, keys that contradict each other."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from copy import deepcopy
from functools import reduce
from pathlib import Path
from typing import Any

import jsonschema

from consilience.attribution.names import FROM, METHOD_NAMES, MethodFacts, parts_of_method
from consilience.errors import ConsilienceError, nearest

SHIPPED = Path(__file__).resolve().parents[2] / "resources"
WORDS = {
    "object": "keys and values",
    "array": "a list",
    "string": "text",
    "number": "a finite number",
    "integer": "an integer",
    "boolean": "true or false",
    "null": "null",
}


def _is_finite_number(_: Any, value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


VALIDATOR = jsonschema.validators.extend(
    jsonschema.Draft202012Validator,
    type_checker=jsonschema.Draft202012Validator.TYPE_CHECKER.redefine("number", _is_finite_number),
)


def completed(value: Any, schema: dict[str, Any]) -> Any:
    """Return a copy with defaults filled at every depth, and whole floats as int where the schema wants an integer."""
    if isinstance(value, dict):
        parts = schema.get("properties", {})
        absent = {key: part["default"] for key, part in parts.items() if key not in value and "default" in part}
        return {key: completed(item, _part(schema, key)) for key, item in {**value, **absent}.items()}
    if isinstance(value, list):
        return [completed(item, _part(schema, 0)) for item in value]
    types = _types(schema)
    if isinstance(value, float) and value.is_integer() and "integer" in types and "number" not in types:
        return int(value)
    return deepcopy(value)


def problems(settings: dict[str, Any], schema: dict[str, Any]) -> list[str]:
    """Return a line for every fault against the schema: key, value, what was expected."""
    found = sorted(VALIDATOR(schema).iter_errors(settings), key=lambda error: [str(part) for part in error.path])
    return list(dict.fromkeys(line for error in found for line in _lines(error, schema)))


def sound(settings: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """Return a copy of what the schema knows and accepts.

    Of a list with a refused item, nothing is kept; of a refused value under a name of the person's own, the name.
    """
    settings = deepcopy({key: value for key, value in settings.items() if key in schema["properties"]})
    for error in VALIDATOR(schema).iter_errors(settings):
        path = list(error.path)
        if error.validator in ("additionalProperties", "required") or _of_name(error) or not path:
            continue
        keys = path[: next((index for index, part in enumerate(path) if isinstance(part, int)), len(path))]
        parent = reduce(lambda part, key: part.get(key, {}), keys[:-1], settings)
        parent.pop(keys[-1], None)
        if keys[-1] not in reduce(_part, keys[:-1], schema).get("properties", {}):
            parent[keys[-1]] = {}
    return settings


def _lines(error: jsonschema.ValidationError, schema: dict[str, Any]) -> Iterator[str]:
    key, value = ".".join(str(part) for part in error.path), error.instance
    prefix = f"{key}." if key else ""
    expected = f" ({error.schema['description'].strip()})" if error.schema.get("description") else ""
    if error.validator == "additionalProperties":
        known = error.schema.get("properties", {})
        for name in value:
            if name not in known:
                yield f"{prefix}{name}: unknown key{nearest(name, known) or '; expected ' + ', '.join(known)}"
    elif error.validator == "required":
        missing = (name for name in error.validator_value if name not in value)
        yield from (f"{prefix}{name}: missing; it has no default" for name in missing)
    elif error.validator == "oneOf":
        choices = (" and ".join(part.get("required", ["something else"])) for part in error.validator_value)
        yield f"{key}: expected either {' or '.join(choices)}; it has {', '.join(value)}"
    elif _of_name(error):
        yield f"{key}: {value!r} cannot be a name; expected {error.schema.get('description', error.validator_value)}"
    elif error.validator == "type" and value is None:
        yield f"{key}: the key is empty; give it {_remedy(error, schema)}"
    elif error.validator == "type":
        types = _types(error.schema)
        hint = _hint(value, types)
        yield f"{key}: {value!r} is {hint or 'not ' + ' or '.join(WORDS[name] for name in types) + expected}"
    elif error.validator == "enum":
        choices = [str(choice) for choice in error.validator_value]
        if "type" not in error.schema or VALIDATOR({"type": error.schema["type"]}).is_valid(value):  # else told already
            yield f"{key}: {value!r} is not one of {', '.join(choices)}{nearest(str(value), choices)}"
    elif error.validator == "pattern" and expected:
        yield f"{key}: {value!r} is not of its form{expected}"
    else:
        yield f"{key}: {error.message}{expected}"


def _of_name(error: jsonschema.ValidationError) -> bool:
    """Say whether the fault is that of a key's name, not of a value."""
    return "propertyNames" in list(error.schema_path)[-2:-1]


def _remedy(error: jsonschema.ValidationError, schema: dict[str, Any]) -> str:
    """Say what to do about an empty key."""
    *path, name = error.path
    parent = reduce(_part, path, schema)
    values = "values" if "object" in _types(error.schema) else "a value"
    if name in parent.get("required", []) or not isinstance(name, str):
        return values
    return f"{values} or {'leave it out' if name in parent.get('properties', {}) else '{} for its defaults'}"


def _hint(value: Any, types: Sequence[str]) -> str:
    """Say what YAML made of a value that was meant as another type; empty where that is unclear."""
    number = _number(value)
    if number is not None and "number" in types:
        digits = next(text for count in range(1, 18) if float(text := f"{number:.{count}e}") == number)
        return f"text to YAML; write a number with a dot and a signed exponent, such as {digits}"
    if number is not None and "integer" in types:
        example = f", such as {int(number)}" if number.is_integer() and abs(number) < 1e15 else ""
        return f"text to YAML; write an integer without quotes{example}"
    if "string" in types and not isinstance(value, str | list | dict):
        return "no text to YAML; put quotes around it"
    return ""


def _number(value: Any) -> float | None:
    """Return the finite number that a text spells, or None."""
    try:
        number = float(value) if isinstance(value, str) else math.nan
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _types(schema: dict[str, Any]) -> list[str]:
    types = schema.get("type", [])
    return [types] if isinstance(types, str) else types


def _part(schema: dict[str, Any], key: str | int) -> dict[str, Any]:
    """Return the schema of a key's value or of a list's items; empty where nothing is said."""
    properties = schema.get("properties", {})
    part = schema.get("items") if isinstance(key, int) else properties.get(key, schema.get("additionalProperties"))
    return part if isinstance(part, dict) else {}


def _entries(settings: dict[str, Any] | list[Any]) -> Iterable[tuple[str | int, Any]]:
    return settings.items() if isinstance(settings, dict) else enumerate(settings)


def paths(settings: dict[str, Any] | list[Any], schema: dict[str, Any]) -> Iterator[str]:
    """Yield the path-valued settings of a checked and resolved mapping, those in lists too.

    Of a folder whose schema says what it `holds`, these files and folders (of several names in a list, the first that
    is there), where they are all there: an edit in place does not change the time of the folder itself. A JSON file
    whose schema says under which key it `follows` a folder beside it, and what that holds, comes with these files.
    """
    for key, value in _entries(settings):
        part = _part(schema, key)
        if isinstance(value, dict | list):
            yield from paths(value, part)
        elif part.get("format") == "path" and value is not None:
            followed = _followed(Path(value), part.get("follows"))
            held = _held(followed or Path(value), part.get("holds", []))
            yield from [value, *held] if followed or not held else held


def _held(folder: Path, names: list[str | list[str]]) -> list[str]:
    """Return what of `names` a folder has, one for each entry; nothing where one has none."""
    found = []
    for entry in names:
        options = [folder / name for name in ([entry] if isinstance(entry, str) else entry)]
        found += [str(path) for path in options if path.exists()][:1]
    return found if len(found) == len(names) else []


def _followed(file: Path, key: str | None) -> Path | None:
    """Return the folder that a JSON file names under `key`, relative to itself; None where there is no such folder."""
    if key is None or file.suffix != ".json":
        return None
    try:
        folder = file.parent / json.loads(file.read_text(encoding="utf-8"))[key]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return folder if folder.is_dir() else None


def resolve(settings: dict[str, Any] | list[Any], schema: dict[str, Any], folder: Path, key: str = "") -> Iterator[str]:
    """Make paths absolute, relative ones to the study file's folder; yield a line for each that does not exist.

    A value that a schema marks `shipped: <folder>` may also be the bare name of a text file in resources/<folder>.
    """
    for name, value in _entries(settings):
        part = _part(schema, name)
        where = f"{key}.{name}" if key else name
        if isinstance(value, dict | list):
            yield from resolve(value, part, folder, where)
        elif part.get("format") == "path" and isinstance(value, str):
            try:
                choices = [(folder / Path(value).expanduser()).resolve()]
                if "shipped" in part and Path(value).name == value:
                    choices.append(SHIPPED / part["shipped"] / f"{value}.txt")
                existing = [path for path in choices if path.exists()]
            except (OSError, RuntimeError, ValueError) as error:
                yield f"{where}: {value!r} cannot be a path ({getattr(error, 'strerror', None) or error})"
                continue
            if existing:
                settings[name] = str(existing[0])
            else:
                yield f"{where}: {value}: no such file or folder (looked for {' and '.join(map(str, choices))})"


def contradictions(settings: dict[str, Any]) -> Iterator[str]:
    """Yield a line for keys that cannot hold together; settings that are absent are not judged."""
    split = settings.get("split", {})
    shares = [split.get(role) for role in ("train", "validation", "test")]
    if None not in shares and abs(sum(shares) - 1) > 1e-9:
        yield f"split: train + validation + test is {sum(shares):.10g}; expected 1"
    yield from _votes(settings)


def excesses(settings: dict[str, Any], schema: dict[str, Any], key: str = "") -> Iterator[str]:
    """Yield a line for every value above that of the key beside it that its schema names under `at_most`."""
    for name, value in settings.items():
        part, where = _part(schema, name), f"{key}.{name}" if key else name
        if isinstance(value, dict):
            yield from excesses(value, part, where)
        other = settings.get(part.get("at_most"))
        if other is not None and value > other:
            yield f"{where}: {value} is more than {part['at_most']} ({other})"


def unsuited_methods(settings: dict[str, Any], unsuited: dict[str, str]) -> Iterator[str]:
    """Yield a line for methods that do not suit a slice's networks; `unsuited` gives the reason by name."""
    attribution = settings.get("attribution", {})
    for method in dict.fromkeys([*attribution.get("methods", []), attribution.get("primary")]):
        base = str(method).partition(FROM)[0]
        if base in unsuited:
            yield f"attribution.methods: {method} does not suit the networks of {settings['domain']}: {unsuited[base]}"


def unknown_methods(settings: dict[str, Any], own: dict[str, dict[str, Any]], schema: dict[str, Any]) -> Iterator[str]:
    """Yield a line for attribution methods that neither the library nor the slice has.

    `own` are the facts of the slice's methods by name; `schema` knows the references.
    """
    attribution = settings.get("attribution", {})
    methods, primary = attribution.get("methods"), attribution.get("primary")
    facts, names = {name: MethodFacts(**part) for name, part in own.items()}, (*METHOD_NAMES, *own)
    references = _part(_part(schema, "attribution"), "reference").get("enum", ())
    known = set()
    for method in dict.fromkeys([*(methods or []), *filter(None, [primary])]):
        key = "methods" if method in (methods or []) else "primary"
        try:
            parts_of_method(method, facts, tuple(references))
            known.add(method)
        except ConsilienceError as error:
            expected = f"expected {'some' if key == 'methods' else 'one'} of {', '.join(names)}"
            problem = f"unknown method {method!r}; {expected}{nearest(method, names)}"
            yield f"attribution.{key}: {problem if method.partition(FROM)[0] not in names else error}"
    if methods is not None and primary in known and primary not in methods:
        yield f"attribution.primary: {primary!r} is not among attribution.methods"


def _votes(settings: dict[str, Any]) -> Iterator[str]:
    models, minimum = settings.get("models", {}), settings.get("consensus", {}).get("minimum_models")
    if models and all(model.get("explain") is False for model in models.values()):
        yield "models: none is explained, so that none has a vote; set explain: true for at least one"
        return
    for name, model in models.items():
        if model.get("explain") is False and model.get("consensus"):
            yield f"models.{name}.explain: false, but the model has a vote; set models.{name}.consensus: false"
    keys = [(model.get("explain"), model.get("consensus")) for model in models.values()]
    voters = sum(all(pair) for pair in keys)
    if not models or any(None in pair for pair in keys) or minimum is None or voters >= minimum:
        return
    have = f"{voters or 'no'} {'model has' if voters < 2 else 'models have'} a vote"
    remedy = f"set consensus.minimum_models to {voters}, or add a model" if voters else "give a model a vote"
    yield f"consensus.minimum_models: {minimum}, but {have}; {remedy}"
