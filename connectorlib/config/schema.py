"""The JSON Schemas of this project: read from package data, bundled, and searched. Nothing is fetched.

Beyond the standard keywords there are `x-verbatim: true` (SQL, paths and templates: `${…}` is no reference) and
`x-expected: "a duration such as 30s"` (the words of the error message).
"""

import json
import pkgutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

Schema = Mapping[str, Any]

COMMON_ID = "urn:amqp-connectors:common"
MAX_HOMES = 2
MAX_HOME_DEPTH = 3


def read_schema(package: str, name: str) -> dict[str, Any]:
    """Return the schema `<package>/schemas/<name>` from the package's data."""
    data = pkgutil.get_data(package, f"schemas/{name}")
    assert data is not None, "a package in files"
    schema: dict[str, Any] = json.loads(data)
    return schema


def bundle(schema: Schema) -> dict[str, Any]:
    """Return a schema with the definitions of the common one that it uses."""
    common = read_schema("connectorlib", "common.schema.json")["$defs"]
    result = {key: _rewrite(value) for key, value in schema.items() if key != "$defs"}
    definitions = {name: _rewrite(value) for name, value in schema.get("$defs", {}).items()}
    waiting = list(_references([result, definitions]))
    while waiting:
        name = waiting.pop()
        if name not in definitions:
            definitions[name] = _rewrite(common[name])
            waiting.extend(_references(definitions[name]))
    return {**result, "$defs": dict(sorted(definitions.items()))}


def printed(schema: Schema) -> str:
    """Return a bundled schema as text, for editors."""
    return json.dumps(with_comments(schema), indent=2, ensure_ascii=False)


def with_comments(node: Any) -> Any:
    """Return a schema that allows keys that begin with `//`; the connectors remove them before they validate."""
    if isinstance(node, list):
        return [with_comments(each) for each in node]
    if not isinstance(node, Mapping):
        return node
    found = {key: with_comments(value) for key, value in node.items()}
    if not found.keys().isdisjoint(("additionalProperties", "unevaluatedProperties")):
        found["patternProperties"] = {"^//": {"description": "A comment."}}
    if "propertyNames" in found:
        found["propertyNames"] = {"anyOf": [{"pattern": "^//"}, found["propertyNames"]]}
    return found


def _rewrite(node: Any) -> Any:
    if isinstance(node, Mapping):
        return {key: _rewrite(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_rewrite(value) for value in node]
    if isinstance(node, str) and node.startswith(f"{COMMON_ID}#"):
        return node.removeprefix(COMMON_ID)
    return node


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, Mapping):
        reference = node.get("$ref")
        if isinstance(reference, str):
            yield reference.removeprefix("#/$defs/")
        for value in node.values():
            yield from _references(value)
    elif isinstance(node, list):
        for value in node:
            yield from _references(value)


def expand(root: Schema, schema: Any) -> Iterator[Schema]:
    """Yield every schema that applies, or may apply, to the same value: through $ref, allOf, anyOf and oneOf."""
    if not isinstance(schema, Mapping):
        return
    yield schema
    if "$ref" in schema:
        yield from expand(root, root["$defs"][schema["$ref"].removeprefix("#/$defs/")])
    for keyword in ("allOf", "anyOf", "oneOf"):
        for branch in schema.get(keyword, ()):
            yield from expand(root, branch)


def step(root: Schema, schemas: Iterable[Schema], key: str | int) -> list[Schema]:
    """Return the schemas of a member, from those of its object or list."""
    members = [_member(schema, key) for schema in schemas]
    return [schema for member in members if member is not None for schema in expand(root, member)]


def _member(schema: Schema, key: str | int) -> Any:
    if isinstance(key, int):
        return schema.get("items")
    named = schema.get("properties", {}).get(key)
    return named if named is not None else schema.get("additionalProperties")


def known_keys(root: Schema, schema: Any) -> list[str]:
    """Return the property names that an object of this schema may have."""
    return list(dict.fromkeys(name for each in expand(root, schema) for name in each.get("properties", {})))


def types(schemas: Iterable[Schema]) -> set[str]:
    """Return the JSON types that these schemas name."""
    found: set[str] = set()
    for schema in schemas:
        kind = schema.get("type", ())
        found.update([kind] if isinstance(kind, str) else kind)
    return found


def needs_text(root: Schema, path: Sequence[str | int]) -> bool:
    """Return whether a path is that of a text that its object must have, or of one of a list."""
    required = any(path[-1] in schema.get("required", ()) for schema in schemas_of(root, path[:-1]))
    needed = required or isinstance(path[-1], int)
    return needed and "string" in types(schemas_of(root, path))


def is_duration(root: Schema, path: Sequence[str | int]) -> bool:
    """Return whether a path is that of a duration."""
    return any(str(schema.get("x-expected", "")).startswith("a duration") for schema in schemas_of(root, path))


def within(root: Schema, path: Sequence[str | int], *definitions: str) -> bool:
    """Return whether a path is in a value of one of these definitions."""
    known = [root.get("$defs", {}).get(name) for name in definitions]
    above = (schemas_of(root, path[:length]) for length in range(len(path) + 1))
    return any(schema is one for schemas in above for schema in schemas for one in known)


def schemas_of(root: Schema, path: Sequence[str | int]) -> list[Schema]:
    """Return every schema that applies, or may apply, at a path."""
    schemas = list(expand(root, root))
    for key in path:
        schemas = step(root, schemas, key)
    return schemas


def homes(root: Schema, key: str) -> list[tuple[str, ...]]:
    """Return the paths of the objects, outside lists, that have a key of this name; none if there are many."""
    found = [path for path, keys in _objects(root, root, ()) if key in keys]
    return found if len(found) <= MAX_HOMES else []


def _objects(root: Schema, schema: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], list[str]]]:
    keys = known_keys(root, schema)
    yield path, keys
    if len(path) < MAX_HOME_DEPTH:
        for key in keys:
            for member in step(root, expand(root, schema), key)[:1]:
                yield from _objects(root, member, (*path, key))
