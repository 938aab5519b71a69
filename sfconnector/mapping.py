"""From a message to the fields of its Cases: decode, evaluate, make values what the fields take.

Everything that can be compiled is compiled once, at the start; per message only closures run. Nothing here asks
Salesforce: what has to be looked up is collected first (`wanted`) and answered from `Lookups` (`case`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn, Protocol

from connectorlib.errors import Failed, Failure, Kind, reject
from connectorlib.expressions import MISSING, Scope, compile_expression, describe_missing, shorten
from connectorlib.formats import compile_format
from connectorlib.limits import Effort
from connectorlib.messages import Delivery
from connectorlib.shared_settings import Limits
from sfconnector.coercion import (
    MAX_KEY,
    Coerce,
    any_value,
    coercion,
    cut_text,
    key_text,
    to_word,
    unless_blank,
    utf16_length,
)
from sfconnector.lookup import NOT_FOUND, Answer, Lookup, LookupScope, lookup_extra
from sfconnector.lookup_query import Key
from sfconnector.salesforce.describe import Described, Field
from sfconnector.settings import CaseSettings, ExternalId

__all__ = ["CaseMapper", "Decoded", "Draft", "lookup_extra"]

PLACE = "case"

Used = tuple[Lookup, Key]


class Answers(Protocol):
    def answer(self, lookup: Lookup, key: Key) -> Answer: ...


class Decoded:
    """One record of a message, with what travels beside it."""

    __slots__ = ("effort", "record", "scope")

    def __init__(self, record: Any, scope: LookupScope, effort: Effort) -> None:
        self.record = record
        self.scope = scope
        #: The whole message's; it rests but while one of its records is worked on.
        self.effort = effort


@dataclass(frozen=True, slots=True)
class Draft:
    """A Case as it will be sent."""

    #: Ready for JSON; a relationship is an object with the other record's external id; the own external id is included.
    fields: dict[str, Any]
    #: The external id; None: there is none, and a second delivery would make a second Case.
    key: str | None = None
    #: Whether the mapping names an owner, which an assignment rule would replace.
    owner_given: bool = False
    #: Which lookups have had a part in it.
    looked_up: tuple[Used, ...] = ()
    #: Fields whose text was cut.
    truncated: list[str] = field(default_factory=list)


class _Target:
    """One entry of `mapping`: a Case field, or the field of a related record by which it is found."""

    def __init__(self, key: str, spec: Any, described: Described | None, truncate: bool) -> None:
        self.key = key
        lookups: list[Lookup] = []
        self.expression = compile_expression(spec, extra=lookup_extra(lookups))
        self.lookups = tuple(lookups)
        self.evaluate = self.expression.evaluate
        first, _, self.inner = key.partition(".")
        known = _of(described, first, bool(self.inner))
        #: The field itself, or the one that a relationship fills.
        self.name = known.name if known else first
        self.relationship = (known.relationship if known else None) or first
        self.coerce: Coerce = _coercion_of_other(spec) if self.inner else coercion(known)
        self.cut = known.cut if known and truncate and not self.inner else 0

    def put(self, fields: dict[str, Any], value: Any) -> None:
        if self.inner:
            fields.pop(self.name, None)  # a default; Salesforce refuses both at once
            fields[self.relationship] = {self.inner: value}
        else:
            fields[self.name] = value


def _coercion_of_other(spec: Any) -> Coerce:
    """The other object is not described here: its external id is text, unless the expression has a type."""
    typed = isinstance(spec, Mapping) and "type" in spec
    return unless_blank(any_value if typed else to_word)


def _of(described: Described | None, name: str, related: bool) -> Field | None:
    if described is None:
        return None
    return described.relationship(name) if related else described.field(name)


class CaseMapper:
    """The mapping of one division. `described` is what its org says about Case; without it, values keep their types."""

    def __init__(
        self,
        case: CaseSettings,
        format: Mapping[str, Any],
        limits: Limits,
        described: Described | None = None,
    ) -> None:
        self._format = compile_format(format, limits)
        self._limits = limits
        self._described = described
        self._targets = [_Target(key, spec, described, case.truncate) for key, spec in case.mapping.items()]
        self._looking = [target for target in self._targets if target.lookups]
        #: Whether anything has to be asked before `case`.
        self.looks_up = bool(self._looking)
        self.lookups = tuple(lookup for target in self._targets for lookup in target.lookups)
        self._defaults = self._constants(case.defaults)
        self._required = [(name, _Target(name, "$", described, truncate=False)) for name in case.required]
        self._id = None if case.external_id is None else _ExternalId(case.external_id, described)

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
        records = self._format.decode(delivery.body)
        effort.check()
        effort.rest()
        for index, record in enumerate(records):
            scope = LookupScope(delivery, record, index, encoding=self._format.encoding, effort=effort)
            decoded.append(Decoded(record, scope, effort))
        return decoded

    def wanted(self, decoded: Decoded) -> list[Used]:
        """Return what has to be looked up before `case` is called; more than it will use where one lookup stands in
        for another."""
        wanted: list[Used] = []

        def note(lookup: Lookup, key: Key) -> Answer:
            wanted.append((lookup, key))
            return NOT_FOUND

        decoded.scope.ask = note
        with decoded.effort:
            for target in self._looking:
                try:
                    target.evaluate(decoded.record, decoded.scope)
                except Failed:
                    continue  # an answer may make it pass; else `case` fails in the same way, and says where
        return wanted

    def case(self, decoded: Decoded, answers: Answers) -> Draft:
        """Return the Case for a record. Raise Failed (reject), or what Salesforce answered to one of its lookups."""
        with decoded.effort as effort:
            draft = self._draft(decoded, answers)
            try:
                effort.grow(draft.fields.values())
            except Failed as failed:
                raise Failed(replace(failed.failure, place=PLACE, detail="mapping")) from None
        return draft

    def _draft(self, decoded: Decoded, answers: Answers) -> Draft:
        record, scope = decoded.record, decoded.scope
        used: list[Used] = []

        def ask(lookup: Lookup, key: Key) -> Answer:
            used.append((lookup, key))
            return answers.answer(lookup, key)

        scope.ask = ask
        fields = dict(self._defaults)
        truncated: list[str] = []
        for target in self._targets:
            try:
                value = target.evaluate(record, scope)
                if value is MISSING or value is None:
                    continue
                value = target.coerce(value)
            except (Failed, ValueError) as error:
                raise _placed(target, error) from error
            if value is None:
                continue
            if target.cut and utf16_length(value) > target.cut:
                value = cut_text(value, target.cut)
                truncated.append(target.name)
            target.put(fields, value)
        self._check_required(fields, decoded)
        key = None if self._id is None else self._id.put(fields, record, scope)
        owner_given = bool(fields.get("OwnerId") or fields.get("Owner"))
        return Draft(fields, key, owner_given, tuple(used), truncated)

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
        return reject("missing-field", f"nothing fills {name}, which is required", place=PLACE, detail=detail)


def _is_filled(fields: Mapping[str, Any], required: _Target) -> bool:
    """Whether there is a value. Salesforce takes a blank text for none."""
    related = fields.get(required.relationship)
    if isinstance(related, Mapping):
        return not required.inner or required.inner in related
    value = None if required.inner else fields.get(required.name)
    return bool(value.strip()) if isinstance(value, str) else value is not None


def _placed(target: _Target, error: Failed | ValueError) -> Failed:
    """Return the failure with the entry of the mapping that it comes from."""
    failure = error.failure if isinstance(error, Failed) else reject("bad-value", shorten(str(error))).failure
    source = failure.detail
    if not source:
        paths = target.expression.paths
        source = f"{paths[0] if paths else 'a constant'}: {failure.text}"
    return Failed(replace(failure, place=failure.place or PLACE, detail=f"mapping.{target.key} <- {source}"))


class _ExternalId:
    """The field that makes a message which comes twice one Case."""

    def __init__(self, settings: ExternalId, described: Described | None) -> None:
        known = _of(described, settings.field, related=False)
        self._name = known.name if known else settings.field
        self._length = min(MAX_KEY, known.length or MAX_KEY) if known else MAX_KEY
        self._coerce = coercion(known)
        self._expression = compile_expression(settings.value)
        self._accepts_none = settings.missing == "accept"

    def put(self, fields: dict[str, Any], record: Any, scope: Scope) -> str | None:
        """Add the external id to the fields and return it; None for a message without one, if those are accepted.
        It is never cut: two that differ only at their ends would become one Case."""
        try:
            value = self._expression.evaluate(record, scope)
            text = "" if value is MISSING or value is None else key_text(value, self._length)
            sent = self._coerce(text)
        except (Failed, ValueError) as error:
            self._refuse(error)
        if text:
            fields[self._name] = sent
            return text
        if self._accepts_none:
            return None
        blank = isinstance(value, str)
        why = f"{self._expression.text}: empty" if blank else describe_missing(self._expression, record, scope)
        detail = f"external_id.value <- {why}"
        raise reject("no-key", "the message has no external id", place=PLACE, detail=detail)

    def _refuse(self, error: Failed | ValueError) -> NoReturn:
        failure = error.failure if isinstance(error, Failed) else reject("bad-value", shorten(str(error))).failure
        detail = failure.detail or f"{self._expression.text}: {failure.text}"
        raise Failed(replace(failure, place=PLACE, detail=f"external_id.value <- {detail}")) from error
