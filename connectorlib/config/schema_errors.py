"""Sentences that say what to write, for the errors that jsonschema finds. Pure.

The messages of jsonschema are not shown: they repeat values, which may be secrets.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from connectorlib.config.json_source import Path, show
from connectorlib.config.plain_fit import plainly_fits
from connectorlib.config.schema import Schema, expand, homes, known_keys
from connectorlib.config.secrets import is_secret
from connectorlib.config.wording import OTHER_WORDS, SENTENCES, TYPES, describe, is_type, rewritten, written
from connectorlib.dataclass import dataclass
from connectorlib.values.text import did_you_mean, near_miss

if TYPE_CHECKING:
    from jsonschema.exceptions import ValidationError


@dataclass(frozen=True, slots=True)
class Mistake:
    """One mistake. `refuses`: the value at `path` is wrong; otherwise a key is missing in it."""

    path: Path
    text: str
    refuses: bool = True


def check(data: Any, schema: Schema, sources: Mapping[Path, str]) -> list[Mistake]:
    """Return every mistake in the data. `sources` has the references that values came from, by path."""
    if plainly_fits(data, schema):
        return []
    from jsonschema import Draft202012Validator  # late, for mistakes only: it takes as long as all of ours
    from referencing import Registry

    # With an empty registry a $ref to another schema is an error, not a download.
    validator = Draft202012Validator(schema, registry=Registry())
    errors = list(validator.iter_errors(data))
    explainer = _Explainer(schema, sources)
    found = list(dict.fromkeys(mistake for error in errors for mistake in explainer.explain(error)))
    if errors and not found:  # a wrong file must not pass because a sentence is missing
        return [Mistake(tuple(error.absolute_path), f"does not fit the schema ({error.validator})") for error in errors]
    return found


class _Explainer:
    def __init__(self, root: Schema, sources: Mapping[Path, str]) -> None:
        self.root = root
        self.sources = sources
        self.special: dict[object, Callable[[ValidationError, Path], Iterator[Mistake]]] = {
            "additionalProperties": self.unknown_keys,
            "unevaluatedProperties": self.unknown_keys,
            "required": self.missing_keys,
            "anyOf": self.alternatives,
            "oneOf": self.alternatives,
        }

    def explain(self, error: "ValidationError") -> Iterator[Mistake]:
        path = tuple(error.absolute_path)
        if "propertyNames" in error.relative_schema_path:
            yield Mistake((*path, str(error.instance)), f"expected {self.wanted(error.schema)} as the key")
        elif error.validator in self.special:
            yield from self.special[error.validator](error, path)
        else:
            yield Mistake(path, f"expected {self.expected(error)}{self.instead(error, path)}")

    def expected(self, error: "ValidationError") -> str:
        sentence = SENTENCES.get(str(error.validator))
        return sentence(_rule(error)) if sentence else self.wanted(error.schema)

    def instead(self, error: "ValidationError", path: Path) -> str:
        """Return `, not 0`: the value, as far as it may be shown."""
        if path in self.sources:
            return f"; {self.sources[path]} evaluates to something else"
        text = f", not {describe(error.instance, shown=not is_secret(path))}"
        if error.validator == "enum" and isinstance(error.instance, str):
            near = _nearest(error.instance, [each for each in _rule(error) if isinstance(each, str)])
            text += f'; did you mean "{near}"?' if near else ""
        elif not is_secret(path):
            kinds = self.kinds(error.schema)
            items = [each["items"] for each in expand(self.root, error.schema) if "items" in each]
            text += rewritten(error.instance, kinds, [kind for each in items for kind in self.kinds(each)])
        return text

    def wanted(self, schema: Any) -> str:
        """Return what a schema expects, in words."""
        facts = list(expand(self.root, schema))
        named = next((each["x-expected"] for each in facts if "x-expected" in each), None)
        return str(named) if named else " or ".join(TYPES[kind] for kind in self.kinds(schema)) or "something else"

    def kinds(self, schema: Any) -> list[str]:
        found: list[str] = []
        for each in expand(self.root, schema):
            kind = each.get("type", ())
            found.extend([kind] if isinstance(kind, str) else kind)
        return list(dict.fromkeys(found))

    # -- keys

    def unknown_keys(self, error: "ValidationError", path: Path) -> Iterator[Mistake]:
        known = known_keys(self.root, error.schema)
        for key in _instance(error):
            if key not in known:
                yield Mistake((*path, key), f"unknown key{self.hint(key, known, path)}")

    def hint(self, key: str, known: Sequence[str], here: Path) -> str:
        near = _nearest(key, known)
        if not near:
            places = [
                f'in "{show(home)}"' if home else "at the top level" for home in homes(self.root, key) if home != here
            ]
            if places:
                return f"; it belongs {' or '.join(places)}"
        return did_you_mean(near or key, known)

    def missing_keys(self, error: "ValidationError", path: Path) -> Iterator[Mistake]:
        known = known_keys(self.root, error.schema)
        # A misspelt key is reported once, as an unknown key.
        misspelt = {_nearest(key, known) for key in _instance(error) if key not in known}
        for key in _rule(error):
            if key not in _instance(error) and key not in misspelt:
                yield Mistake(path, f'"{key}" is missing{self.purpose(error.schema, key)}', refuses=False)

    def purpose(self, schema: Any, key: str) -> str:
        """Return the first sentence of a missing key's description, and an example."""
        members = [each.get("properties", {}).get(key) for each in expand(self.root, schema)]
        facts = [fact for member in members for fact in expand(self.root, member)]
        description = next((str(each["description"]) for each in facts if "description" in each), "")
        example = next((each["examples"][0] for each in facts if each.get("examples")), None)
        text = f": {description.partition('. ')[0].rstrip('.')}" if description else ""
        return f"{text}, such as {written(example)}" if example is not None else text

    # -- alternatives

    def alternatives(self, error: "ValidationError", path: Path) -> Iterator[Mistake]:
        """Yield the mistakes in the most likely alternative: of the same JSON type, and with the same `type` key."""
        branches: list[Any] = list(_rule(error))
        fitting = [at for at, branch in enumerate(branches) if self.fits(branch, error.instance)]
        if not fitting:
            yield Mistake(path, f"expected {self.wanted(error.schema)}{self.instead(error, path)}")
            return
        switched = [at for at in fitting if self.switch(branches[at]) is not None]
        chosen = [at for at in switched if self.switch(branches[at]) == _type_key(error.instance)]
        # A wrong `type` selects none; the key `type` has a mistake of its own.
        for at in (chosen if switched else fitting)[:1]:
            for inner in error.context or ():
                if inner.relative_schema_path[0] == at:
                    yield from self.explain(inner)

    def fits(self, branch: Any, instance: Any) -> bool:
        kinds = self.kinds(branch)
        return not kinds or any(is_type(instance, kind) for kind in kinds)

    def switch(self, branch: Any) -> Any:
        """Return the value of the key `type` that selects this alternative, if any."""
        constants = [each.get("properties", {}).get("type", {}) for each in expand(self.root, branch)]
        return next((each["const"] for each in constants if "const" in each), None)


def _nearest(word: str, known: Sequence[str]) -> str:
    """Return the known word that is probably meant, or an empty text."""
    alias = OTHER_WORDS.get(word.lower(), "")
    return alias if alias in known else near_miss(word, known)


def _instance(error: "ValidationError") -> Any:
    return error.instance  # typed as maybe unset, which it never is from iter_errors


def _rule(error: "ValidationError") -> Any:
    return error.validator_value  # likewise


def _type_key(instance: Any) -> Any:
    return instance.get("type") if isinstance(instance, Mapping) else None
