"""From a message to the fields of its Cases: decode, evaluate, convert to what the fields take. Pure.

Expressions are compiled once, when the mapping is read. A body is decoded once and a mapping evaluated once per record,
however often the record is sent. Only an entry with a lookup is evaluated again when its answers are there; the values
that it looks up by are not.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field, replace
from typing import Any

from connectorlib.dataclass import dataclass
from connectorlib.errors import Failed, Failure, Kind, reject
from connectorlib.expressions import MISSING, Scope, compile_expression, describe_missing, elements_of, shorten
from connectorlib.formats import compile_format, records_of
from connectorlib.formats.strictness import check_count
from connectorlib.limits import Effort
from connectorlib.messages import Delivery
from connectorlib.shared_settings import Limits
from sfconnector.coercion import (
    MAX_KEY,
    Coerce,
    any_value,
    coercion,
    cut_text,
    is_coercible,
    key_text,
    to_word,
    unless_blank,
    utf16_length,
)
from sfconnector.lookup import NOT_FOUND, UNKNOWN, Answer, Answers, Fetched, Lookup, LookupScope, Wanted, lookup_extra
from sfconnector.lookup_query import Key
from sfconnector.salesforce.describe import Described, Field
from sfconnector.settings import CaseSettings, ExternalId

PLACE = "case"
#: Codes of a value that a field does not take.
_INVALID = frozenset({"bad-value", "not-in-map"})


@dataclass(frozen=True, slots=True)
class Draft:
    """A Case as it is sent."""

    #: Ready for JSON; a relationship is an object with the other record's external id; the own external id is included.
    fields: dict[str, Any]
    #: The external id; None: there is none, and a second delivery creates a second Case.
    key: str | None = None
    #: Whether the mapping names an owner, which an assignment rule would replace.
    owner_given: bool = False
    #: The lookups that it depends on.
    looked_up: tuple[Wanted, ...] = ()
    #: Fields whose text was cut.
    truncated: tuple[str, ...] = ()
    #: Whether no other field that it fills is unique, as far as the org has said.
    only_key: bool = True
    #: Fields that were left out because they do not take their value (`invalid`), and why.
    left_out: Mapping[str, str] = field(default_factory=dict)
    #: Fields that may be left out if Salesforce does not take their value.
    optional: frozenset[str] = frozenset()


class Decoded:
    """One record of a message, and what the mapping has made of it so far."""

    __slots__ = (
        *("draft", "effort", "is_counted", "key", "left_out", "looked_up", "record", "scope", "truncated", "values"),
    )

    def __init__(self, record: Any, scope: LookupScope, effort: Effort) -> None:
        self.record = record
        self.scope = scope
        #: Of the whole message; suspended except while one of its records is evaluated.
        self.effort = effort
        #: By entry of a mapping with lookups: its value, None for nothing, or why it failed.
        self.values: dict[str, Any] = {}
        self.looked_up: dict[str, list[Wanted]] | None = None
        self.truncated: tuple[str, ...] = ()
        #: By field with `invalid`: why it is left out.
        self.left_out: dict[str, str] = {}
        #: The external id: as the field takes it, and as text.
        self.key: tuple[Any, str] | None = None
        self.draft: Draft | None = None
        #: Whether the size of its values counts in `effort` already.
        self.is_counted = False

    def forget_lookups(self) -> None:
        """Have every entry that a lookup decides evaluated again."""
        if self.looked_up:
            for entry in self.looked_up:
                del self.values[entry]
            self.looked_up, self.draft = None, None

    def forget(self) -> None:
        """Have everything evaluated again."""
        self.values, self.truncated, self.left_out = {}, (), {}
        self.looked_up, self.draft, self.key = None, None, None

    def leave_out(self, reasons: Mapping[str, str]) -> None:
        """Have everything evaluated again, without the fields that Salesforce refuses."""
        known = {**self.left_out, **reasons}
        self.forget()
        self.left_out = known


class _Asking:
    """Answers the lookups of one entry, and notes them."""

    __slots__ = ("_answers", "asked", "incomplete")

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self.asked: list[Wanted] = []
        self.incomplete = False

    def __call__(self, lookup: Lookup, key: Key) -> Answer:
        self.asked.append((lookup, key))
        answer = self._answers.answer(lookup, key)
        if answer is UNKNOWN:
            self.incomplete = True
            return NOT_FOUND  # so that the alternatives of a first_of are asked for in the same query
        return answer


class _Target:
    """One entry of `mapping`: a Case field, or the field of a related record that identifies it."""

    def __init__(self, key: str, spec: Any, described: Described | None, truncate: bool) -> None:
        self.key = key
        lookups: list[Lookup] = []
        self.expression = compile_expression(without_invalid(spec), extra=lookup_extra(lookups))
        #: Whether the field is left out where it does not take the value.
        self.is_optional = isinstance(spec, Mapping) and spec.get("invalid") == "skip"
        self.lookups = tuple(lookups)
        self.evaluate = self.expression.evaluate
        first, _, self.inner = key.partition(".")
        known = _of(described, first, bool(self.inner))
        #: The field itself, or the reference field of a relationship.
        self.name = known.name if known else first
        self.relationship = (known.relationship if known else None) or first
        self.coerce: Coerce = _coercion_of_other(spec) if self.inner else coercion(known)
        self.cut = known.cut if known and truncate and not self.inner else 0

    def value(self, decoded: Decoded) -> Any:
        """Return the value for the field, None for nothing. Raise Failed."""
        if not self.is_optional:
            return self._value(decoded)
        if self.name in decoded.left_out:
            return None
        try:
            return self._value(decoded)
        except Failed as failed:
            if failed.failure.code not in _INVALID:
                raise
            decoded.left_out[self.name] = failed.failure.text
            return None

    def _value(self, decoded: Decoded) -> Any:
        try:
            given = self.evaluate(decoded.record, decoded.scope)
            if given is MISSING or given is None:
                return None
            value = self.coerce(given)
        except Failed as failed:
            raise _placed(self, failed.failure) from failed
        except ValueError as error:
            raise _placed(self, _bad_value(error, by_target=is_coercible(given, any_value))) from error
        if value is not None and self.is_too_long(value):
            value = cut_text(value, self.cut)
            if self.name not in decoded.truncated:
                decoded.truncated += (self.name,)
        return value

    def is_too_long(self, text: str) -> bool:
        """Return whether a text is to be cut."""
        return self.cut > 0 and utf16_length(text) > self.cut

    def put(self, fields: dict[str, Any], value: Any) -> None:
        if self.inner:
            fields.pop(self.name, None)  # a default; Salesforce refuses both at once
            fields[self.relationship] = {self.inner: value}
        else:
            fields[self.name] = value


def without_invalid(spec: Any) -> Any:
    """Return an entry of `mapping` as a value expression."""
    return {key: value for key, value in spec.items() if key != "invalid"} if isinstance(spec, Mapping) else spec


def _coercion_of_other(spec: Any) -> Coerce:
    """The other object is not described here: its external id is text, unless the expression has a type."""
    typed = isinstance(spec, Mapping) and "type" in spec
    return unless_blank(any_value if typed else to_word)


def _of(described: Described | None, name: str, related: bool) -> Field | None:
    if described is None:
        return None
    return described.relationship(name) if related else described.field(name)


class CaseMapper:
    """The compiled mapping of one division; any thread may use it. Without `described`, the org's description of Case,
    values keep their types."""

    def __init__(
        self, case: CaseSettings, format: Mapping[str, Any], limits: Limits, described: Described | None = None
    ) -> None:
        self._format = compile_format(format, limits)
        self._limits = limits
        self._described = described
        self._each = None if case.for_each is None else compile_expression(case.for_each)
        self._targets = [_Target(key, spec, described, case.truncate) for key, spec in case.mapping.items()]
        self.lookups = tuple(lookup for target in self._targets for lookup in target.lookups)
        self._defaults = self._constants(case.defaults)
        self._optional = frozenset(target.name for target in self._targets if target.is_optional)
        self._notes = None if case.note_field is None else _Target(case.note_field, "$", described, truncate=True)
        self._required = [(name, _Target(name, "$", described, truncate=False)) for name in case.required]
        self._id = None if case.external_id is None else _ExternalId(case.external_id, described)
        self._unique = {field.name for field in described.fields if field.unique} if described else set()
        if case.external_id is not None:
            known = _of(described, case.external_id.field, related=False)
            self._unique.discard(known.name if known else case.external_id.field)

    def _constants(self, defaults: Mapping[str, Any]) -> dict[str, Any]:
        constants: dict[str, Any] = {}
        for key, value in defaults.items():
            target = _Target(key, {"value": value}, self._described, truncate=False)
            if value is None:
                continue
            try:
                target.put(constants, target.coerce(value))
            except ValueError as error:
                failure = Failure(Kind.CONFIGURATION, "bad-value", str(error), PLACE, f"defaults.{key}")
                raise Failed(failure) from error
        return constants

    def records(self, delivery: Delivery) -> list[Decoded]:
        """Return the records of a message. Raise Failed (reject) if it cannot be decoded."""
        decoded: list[Decoded] = []
        effort = Effort(self._limits)
        records = records_of(delivery, self._format)
        effort.check()
        elements = self._elements(delivery, records, effort)
        effort.rest()
        for index, element, record in elements:
            scope = LookupScope(delivery, record, index, fmt=self._format, effort=effort)
            if self.lookups:
                scope.keys = {}
            decoded.append(Decoded(element, scope, effort))
        return decoded

    def _elements(self, delivery: Delivery, records: Sequence[Any], effort: Effort) -> Iterable[tuple[int, Any, Any]]:
        """Return what becomes a Case each, with its number in the message and the record that it is a part of. Raise
        Failed (reject) if there is no list for `for_each`, or if it is too long."""
        chosen: Iterable[tuple[int, Any]] = enumerate(records)
        if delivery.left_out:
            chosen = [(at, record) for at, record in chosen if at not in delivery.left_out]
        if self._each is None:
            return ((at, record, record) for at, record in chosen)
        found: list[tuple[int, Any, Any]] = []
        for at, record in chosen:
            scope = Scope(delivery, record, at, fmt=self._format, effort=effort)
            items = self._each.evaluate(record, scope)
            if items is MISSING:
                detail = f"for_each <- {describe_missing(self._each, record, scope)}"
                raise reject("missing-field", "nothing to repeat for", place=PLACE, detail=detail)
            found += [(number, item, record) for number, item in enumerate(elements_of(items), len(found))]
        check_count(found, self._limits)
        return found

    def case(self, decoded: Decoded, answers: Answers) -> Draft | list[Wanted]:
        """Return the Case of a record, or the lookups that have to be answered first. Raise Failed (reject), or what
        Salesforce answered to one of its lookups."""
        if decoded.draft is not None:
            return decoded.draft
        with decoded.effort as effort:
            if self.lookups and (wanted := self._evaluate(decoded, answers)):
                return wanted
            draft = self._draft(decoded)
            if not decoded.is_counted:
                _check_growth(effort, draft)
        decoded.draft, decoded.is_counted = draft, True
        return draft

    def wanted(self, records: Sequence[Decoded]) -> list[Wanted]:
        """Return all lookups that have to be answered for these records."""
        wanted: list[Wanted] = []
        for decoded in records:
            try:
                made = self.case(decoded, Fetched({}))
            except Failed:
                continue  # `case` fails in the same way
            wanted += made if isinstance(made, list) else ()
        return wanted

    def _evaluate(self, decoded: Decoded, answers: Answers) -> list[Wanted]:
        """Evaluate the entries that have no value yet; return the lookups that some of them wait for."""
        values = decoded.values
        wanted: list[Wanted] = []
        for target in self._targets:
            if target.key in values:
                continue
            if target.lookups:
                wanted += self._look_up(target, decoded, answers, bool(wanted))
                continue
            try:
                values[target.key] = target.value(decoded)
            except Failed as failed:
                if not wanted:
                    raise
                values[target.key] = failed  # unless an entry before it fails, whose answer does not exist yet
        return wanted

    def _look_up(self, target: _Target, decoded: Decoded, answers: Answers, wanted: bool) -> list[Wanted]:
        """Evaluate an entry with lookups; return them if they have to be answered first."""
        asking = decoded.scope.ask = _Asking(answers)
        value: Any
        try:
            value = target.value(decoded)
        except Failed as failed:
            if not asking.incomplete and not wanted:
                raise
            value = failed
        if asking.incomplete:
            return asking.asked
        decoded.values[target.key] = value
        decoded.looked_up = {**(decoded.looked_up or {}), target.key: asking.asked}
        return []

    def _draft(self, decoded: Decoded) -> Draft:
        values, fields = decoded.values, dict(self._defaults)
        is_mapped = False
        for target in self._targets:
            value = values[target.key] if values else target.value(decoded)  # without lookups, the draft is kept
            if type(value) is Failed:
                raise value
            if value is not None:
                target.put(fields, value)
                is_mapped = True
        self._check_required(fields, decoded)
        if not is_mapped and self._targets and not any((decoded.looked_up or {}).values()):
            raise self._nothing_mapped(decoded)
        key = None if self._id is None else self._id.put(fields, decoded)
        owner_given = bool(fields.get("OwnerId") or fields.get("Owner"))
        looked_up = tuple(each for asked in (decoded.looked_up or {}).values() for each in asked)
        only_key, left_out = self._unique.isdisjoint(fields), dict(decoded.left_out)
        self._note(fields, left_out)
        return Draft(fields, key, owner_given, looked_up, decoded.truncated, only_key, left_out, self._optional)

    def _note(self, fields: dict[str, Any], left_out: Mapping[str, str]) -> None:
        """Add what is left out to the field for notes."""
        if self._notes is None or not left_out:
            return
        lines = [str(fields[self._notes.name])] if fields.get(self._notes.name) else []
        lines += [f"{name} left out: {why}" for name, why in left_out.items()]
        text = "\n".join(lines)
        fields[self._notes.name] = cut_text(text, self._notes.cut) if self._notes.is_too_long(text) else text

    def _nothing_mapped(self, decoded: Decoded) -> Failed:
        first = self._targets[0]
        detail = f"mapping.{first.key} <- {describe_missing(first.expression, decoded.record, decoded.scope)}"
        text = "no entry of the mapping has a value, so the Case would be blank"
        return reject("nothing-mapped", text, place=PLACE, detail=detail)

    def _check_required(self, fields: Mapping[str, Any], decoded: Decoded) -> None:
        for name, required in self._required:
            if not _is_filled(fields, required):
                raise self._missing(name, required, decoded)

    def _missing(self, name: str, required: _Target, decoded: Decoded) -> Failed:
        sources = (target for target in self._targets if target.name == required.name)
        target = next(sources, None)
        if target is None:
            detail = f"required <- {name}: neither defaults nor mapping fill it"
        else:
            why = describe_missing(target.expression, decoded.record, decoded.scope)
            detail = f"mapping.{target.key} <- {why}"
        text = f"nothing fills {name}, which is required"
        asked = target is not None and bool((decoded.looked_up or {}).get(target.key))
        return reject("missing-field", text, place=PLACE, detail=detail, by_target=asked)


def _check_growth(effort: Effort, draft: Draft) -> None:
    try:
        effort.grow(draft.fields.values())
    except Failed as failed:
        raise Failed(replace(failed.failure, place=PLACE, detail="mapping")) from None


def _is_filled(fields: Mapping[str, Any], required: _Target) -> bool:
    """Return whether there is a value. To Salesforce a blank text is none."""
    related = fields.get(required.relationship)
    if isinstance(related, Mapping):
        return not required.inner or required.inner in related
    value = None if required.inner else fields.get(required.name)
    return bool(value.strip()) if isinstance(value, str) else value is not None


def _bad_value(error: ValueError, *, by_target: bool) -> Failure:
    """Return the failure of a conversion; `by_target`: a field of another type could take the value."""
    return reject("bad-value", shorten(str(error)), by_target=by_target).failure


def _placed(target: _Target, failure: Failure) -> Failed:
    """Return the failure with the entry of the mapping that caused it."""
    source = failure.detail
    if not source:
        paths = target.expression.paths
        source = f"{paths[0] if paths else 'a constant'}: {failure.text}"
    return Failed(replace(failure, place=failure.place or PLACE, detail=f"mapping.{target.key} <- {source}"))


class _ExternalId:
    """The unique field that makes a message which is delivered twice one Case."""

    def __init__(self, settings: ExternalId, described: Described | None) -> None:
        known = _of(described, settings.field, related=False)
        self._name = known.name if known else settings.field
        self._length = min(MAX_KEY, known.length or MAX_KEY) if known else MAX_KEY
        self._coerce = coercion(known)
        self._expression = compile_expression(settings.value)
        self._accepts_none = settings.missing == "accept"

    def put(self, fields: dict[str, Any], decoded: Decoded) -> str | None:
        """Add the external id to the fields and return it; None for a message without one, if those are accepted.
        It is never cut: two that differ only at their ends would become one Case."""
        if decoded.key is None:
            decoded.key = self._evaluated(decoded.record, decoded.scope)
        sent, text = decoded.key
        if text:
            fields[self._name] = sent
        return text or None

    def _evaluated(self, record: Any, scope: Scope) -> tuple[Any, str]:
        try:
            value = self._expression.evaluate(record, scope)
            text = "" if value is MISSING or value is None else key_text(value, self._length)
            sent = self._coerce(text)
        except Failed as failed:
            raise self._placed(failed.failure) from failed
        except ValueError as error:
            raise self._placed(_bad_value(error, by_target=is_coercible(value, key_text))) from error
        if text or self._accepts_none:
            return sent, text
        blank = isinstance(value, str)
        why = f"{self._expression.text}: empty" if blank else describe_missing(self._expression, record, scope)
        detail = f"external_id.value <- {why}"
        raise reject("no-key", "the message has no external id", place=PLACE, detail=detail)

    def _placed(self, failure: Failure) -> Failed:
        detail = failure.detail or f"{self._expression.text}: {failure.text}"
        return Failed(replace(failure, place=PLACE, detail=f"external_id.value <- {detail}"))
