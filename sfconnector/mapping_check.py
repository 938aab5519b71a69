"""Compares the mapping with the description of Case, before the first message. Pure, except for `related`.

One line for each mistake; a mistake in one entry does not stop the check of the others.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from connectorlib.config.wording import MAX_SHOWN
from connectorlib.dataclass import dataclass
from connectorlib.errors import Failed, Kind
from connectorlib.expressions.template import parse_template
from connectorlib.values.text import cut, did_you_mean, listed, near_miss
from connectorlib.values.types import compile_conversion
from sfconnector.alarms.alarm_check import alarm_problems
from sfconnector.coercion import coercion, utf16_length
from sfconnector.salesforce.describe import PICKLISTS, REFERENCES, Described, Field
from sfconnector.settings import CaseSettings
from sfconnector.soql import RECORD_ID

Related = Callable[[str], Described]

_HIDDEN = " (or it is hidden from the division's user)"


def check(case: CaseSettings, described: Described, related: Related) -> list[str]:
    """Given the settings and the description of Case, return the mistakes, one line each, in the order of the file.

    `related` describes another object; it is called only for keys such as `Asset.Serial__c`, once for each object.
    """
    return _Check(case, described, related).problems()


def warnings(case: CaseSettings, described: Described) -> list[str]:
    """Return what Salesforce would accept, though it is probably a mistake."""
    found = list(_unfilled(case, described))
    for entry in _entries(case):
        field = described.field(entry.key)
        if field is None:
            continue
        if case.external_id and case.external_id.mode == "upsert" and field.createable and not field.updateable:
            found.append(f"{entry.path}: {field.name} can be given only when a Case is made, so upsert fails later")
        if field.type in PICKLISTS and not field.restricted and field.values:
            for constant in _constants(entry):
                for word in _unknown_choices(field, constant):
                    hint = did_you_mean(word, field.values)
                    found.append(f'{constant.path}: "{_cut(word)}" is not among the values of {field.name}{hint}')
    return found


def _unfilled(case: CaseSettings, described: Described) -> Iterator[str]:
    """Yield the required fields that nothing fills. Flows and triggers may fill them before Salesforce looks."""
    filled = {entry.key.partition(".")[0].lower() for entry in _entries(case)}
    filled |= {case.external_id.field.lower()} if case.external_id else set()
    for field in described.fields:
        if field.required and not filled & {field.name.lower(), (field.relationship or field.name).lower()}:
            yield f"mapping: {field.name} is required by Salesforce, and nothing fills it, unless a flow does"


def constants(case: CaseSettings) -> Mapping[str, frozenset[str]]:
    """Return the texts that a field may get from the configuration, whatever the message is, by its lower-case name."""
    found: dict[str, frozenset[str]] = {}
    for entry in _entries(case):
        texts = {each.value for each in _constants(entry) if each.whole and isinstance(each.value, str)}
        if texts:
            found[entry.key.lower()] = found.get(entry.key.lower(), frozenset()) | texts
    return found


# -- entries and the constants in them


@dataclass(frozen=True, slots=True)
class _Entry:
    section: str  # defaults | mapping | note_field
    key: str
    spec: Any

    @property
    def path(self) -> str:
        return f"{self.section}.{self.key}"


@dataclass(frozen=True, slots=True)
class _Constant:
    path: str
    value: Any
    whole: bool = True  # False: the constant text of a template
    problem: str = ""  # why it cannot be converted to the `type`


def _entries(case: CaseSettings) -> Iterator[_Entry]:
    for key, value in case.defaults.items():
        yield _Entry("defaults", key, {"value": value})
    for key, spec in case.mapping.items():
        yield _Entry("mapping", key, spec)
    if case.note_field is not None:
        yield _Entry("note_field", case.note_field, "$body")


def _constants(entry: _Entry) -> Iterator[_Constant]:
    for constant in _constants_of(entry.path, entry.spec):
        if entry.section == "defaults":
            constant = _Constant(entry.path, constant.value)
        if constant.value is not None:
            yield constant


def _constants_of(path: str, spec: Any) -> Iterator[_Constant]:
    """Yield the values that an expression may have whatever the message is."""
    if isinstance(spec, str):
        if "{" in spec or "}" in spec:
            yield _of_template(path, spec)
    elif isinstance(spec, Mapping):
        for constant in _of_full(path, spec):
            yield _converted(constant, spec) if "type" in spec and constant.whole else constant


def _of_template(path: str, text: str) -> _Constant:
    pieces = parse_template(text)
    own = "".join(piece for piece in pieces if isinstance(piece, str))
    return _Constant(path, own, whole=all(isinstance(piece, str) for piece in pieces))


def _of_full(path: str, spec: Mapping[str, Any]) -> Iterator[_Constant]:
    if "map" in spec:  # a mapped value is not in the result
        for key, value in spec["map"].items():
            yield _Constant(f"{path}.map.{key}", value)
    else:
        if "value" in spec:
            yield _Constant(f"{path}.value", spec["value"])
        if "template" in spec:
            yield _of_template(f"{path}.template", spec["template"])
        for index, choice in enumerate(spec.get("first_of", ())):
            yield from _constants_of(f"{path}.first_of[{index}]", choice)
    if "default" in spec:
        yield _Constant(f"{path}.default", spec["default"])


def _converted(constant: _Constant, spec: Mapping[str, Any]) -> _Constant:
    if constant.value is None or constant.problem:
        return constant
    convert = compile_conversion(spec["type"], spec.get("format"), spec.get("zone"))
    try:
        return _Constant(constant.path, convert(constant.value))
    except ValueError as error:
        return _Constant(constant.path, constant.value, problem=f"type {spec['type']}: {error}")


def _unknown_choices(field: Field, constant: _Constant) -> list[str]:
    """Return the words that are no values of a picklist, compared ignoring case."""
    if not constant.whole or constant.problem or not isinstance(constant.value, str):
        return []
    words = constant.value.split(";") if field.type == "multipicklist" else [constant.value]
    known = {value.casefold() for value in field.values}
    return [word for word in map(str.strip, words) if word and word.casefold() not in known]


# -- the check


def _no_field(name: str) -> str:
    return f'Case has no field "{name}"{_HIDDEN}'


class _Check:
    def __init__(self, case: CaseSettings, described: Described, related: Related) -> None:
        self._case = case
        self._described = described
        self._related = related
        self._others: dict[str, Described | str] = {}
        self._found: list[str] = []
        #: Filled fields of Case: lower-case name to entry.
        self._filled: dict[str, str] = {}

    def problems(self) -> list[str]:
        if not self._described.createable:
            self._found.append("case: the division's user may not create Cases; its profile has to allow it")
        for entry in _entries(self._case):
            self._entry(entry)
        self._twice()
        self._external_id()
        self._required()
        if self._case.alarm is not None:
            self._found += alarm_problems(self._case.alarm, self._described, self._related)
        return self._found

    def _entry(self, entry: _Entry) -> None:
        field = self._related_field(entry) if "." in entry.key else self._field(entry)
        if field is not None:
            for constant in _constants(entry):
                self._constant(field, constant)

    def _field(self, entry: _Entry) -> Field | None:
        """Return the Case field that an entry fills; report and return None if it cannot."""
        field = self._described.field(entry.key)
        if field is None:
            reference = self._described.relationship(entry.key)
            near = did_you_mean(entry.key, self._createable_names())
            hint = f'; did you mean "{reference.name}"?' if reference else near
            self._found.append(f"{entry.path}: {_no_field(entry.key)}{hint}")
        return self._createable(entry, field)

    def _createable_names(self) -> list[str]:
        return [each.name for each in self._described.fields if each.createable]

    def _createable(self, entry: _Entry, field: Field | None) -> Field | None:
        if field is None:
            return None
        self._filled.setdefault(field.name.lower(), entry.key)
        if not field.createable:
            self._found.append(f"{entry.path}: {field.name} cannot be filled; it is read-only, at least for this user")
            return None
        return field

    def _related_field(self, entry: _Entry) -> Field | None:
        """Return the other object's field that identifies a record; report and return None if it cannot."""
        name, _, inner = entry.key.partition(".")
        reference = self._described.relationship(name)
        if reference is None:
            hint = did_you_mean(name, self._described.relationships)
            self._found.append(f'{entry.path}: Case has no relationship "{name}"{_HIDDEN}{hint}')
        reference = self._createable(entry, reference)
        if reference is None:
            return None
        if len(reference.refers_to) != 1:
            either = " or ".join(reference.refers_to) or "anything"
            self._found.append(f"{entry.path}: {name} may be {either}; use a lookup for {reference.name}")
            return None
        return self._external_id_of(entry, reference, inner)

    def _external_id_of(self, entry: _Entry, reference: Field, inner: str) -> Field | None:
        sobject = reference.refers_to[0]
        other = self._describe(sobject)
        if isinstance(other, str):
            self._found.append(f"{entry.path}: Salesforce does not describe {sobject}: {other}")
            return None
        field = other.field(inner)
        if field is not None and (field.external_id or field.id_lookup):
            return field
        names = [each.name for each in other.fields if each.external_id]
        what = f'{sobject} has no field "{inner}"' if field is None else f"{field.name} is no external id of {sobject}"
        near = near_miss(inner, names) if field is None else ""
        known = f'; did you mean "{near}"?' if near else f"; its external ids: {listed(names) or 'none'}"
        self._found.append(f"{entry.path}: {what}{known}; any other field needs a lookup for {reference.name}")
        return None

    def _describe(self, sobject: str) -> Described | str:
        """Return the description of another object, or why there is none."""
        if sobject not in self._others:
            try:
                self._others[sobject] = self._related(sobject)
            except Failed as failed:
                if failed.failure.kind not in (Kind.CONFIGURATION, Kind.REJECT):
                    raise
                self._others[sobject] = f"{failed.failure.code} {failed.failure.text}"
        return self._others[sobject]

    def _constant(self, field: Field, constant: _Constant) -> None:
        try:
            if constant.problem:
                raise ValueError(constant.problem)
            value = coercion(field)(constant.value)
        except ValueError as error:
            self._found.append(f"{constant.path}: {error}; {field.name} is of type {field.type}")
            return
        if isinstance(value, str):
            self._text(field, constant, value)

    def _text(self, field: Field, constant: _Constant, value: str) -> None:
        length = utf16_length(value)
        if field.type in REFERENCES and constant.whole:
            if not RECORD_ID.fullmatch(value):
                hint = 'a name needs {"lookup": …} in "mapping"'
                text = f'"{_cut(value)}" is not a Salesforce id (15 or 18 letters and digits); {hint}'
                self._found.append(f"{constant.path}: {text}")
        elif field.length and length > field.length:
            self._found.append(f"{constant.path}: {length} characters; {field.name} takes at most {field.length}")
        elif field.type in PICKLISTS and field.restricted:
            for word in _unknown_choices(field, constant):
                hint = did_you_mean(word, field.values)
                text = f'"{_cut(word)}" is not a value of {field.name}, a restricted picklist'
                self._found.append(f"{constant.path}: {text}{hint}")

    def _twice(self) -> None:
        """Report fields that two entries of one section fill, by another spelling or as a relationship."""
        for section, keys in (("defaults", self._case.defaults), ("mapping", self._case.mapping)):
            seen: dict[str, str] = {}
            for key in keys:
                name, dot, _ = key.partition(".")
                field = self._described.relationship(name) if dot else self._described.field(name)
                if field is None:
                    continue
                first = seen.setdefault(field.name.lower(), key)
                if first != key:
                    self._found.append(f"{section}.{key}: {first} fills the same field; keep one of the two")

    def _external_id(self) -> None:
        settings = self._case.external_id
        if settings is None:
            return
        field, path = self._described.field(settings.field), "external_id.field"
        if field is None:
            names = [each.name for each in self._described.fields if each.external_id and each.unique]
            self._found.append(
                f'{path}: Case has no field "{settings.field}"{_HIDDEN}{did_you_mean(settings.field, names)}'
            )
            return
        if field.name.lower() in self._filled:
            self._found.append(f'{path}: {field.name} is also filled by "{self._filled[field.name.lower()]}"')
        self._filled[field.name.lower()] = settings.field
        lacks = [word for word, has in (("External ID", field.external_id), ("Unique", field.unique)) if not has]
        if lacks:
            self._found.append(f"{path}: {field.name} is not marked {' and '.join(lacks)} in Salesforce, and must be")
        elif not field.createable:
            self._found.append(f"{path}: {field.name} cannot be filled; it is read-only, at least for this user")

    def _required(self) -> None:
        for key in self._case.required:
            name, dot, _ = key.partition(".")
            field = self._described.relationship(name) if dot else self._described.field(name)
            if field is None:
                self._found.append(f"required: {_no_field(key)}{did_you_mean(key, self._createable_names())}")
            elif field.name.lower() not in self._filled:
                self._found.append(f"required: nothing fills {key}, so every message would be dead-lettered")


def _cut(value: str) -> str:
    return cut(value, MAX_SHOWN)
