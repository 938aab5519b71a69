"""`dataclass` of the standard library, but nothing is compiled before a class has its first instance.

A process starts with more than a hundred of these classes. The standard library compiles up to eight functions for
each of them, which was a third of the time of a start. Type checkers see the original.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import MISSING, Field, FrozenInstanceError, fields
from functools import cache
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NoReturn

__all__ = ["dataclass", "replace"]

if TYPE_CHECKING:
    from dataclasses import dataclass, replace
else:

    def replace(instance: Any, /, **changes: Any) -> Any:
        """Return a copy of an instance with other values, as the standard library does, in a fraction of the time."""
        return _copier(type(instance))(instance, **changes)

    def dataclass(
        cls: type | None = None,
        /,
        *,
        frozen: bool = False,
        eq: bool = True,
        slots: bool = False,
        kw_only: bool = False,
    ) -> Any:
        """Return the class as a data class, or a decorator that does it."""

        def made(cls: type) -> type:
            cls.__doc__ = cls.__doc__ or cls.__name__  # or the original would work out a signature for it
            cls = dataclasses.dataclass(cls, init=False, repr=False, eq=False, slots=slots, kw_only=kw_only)
            _add(cls, "__init__", _initialize_first(cls, frozen=frozen, slots=slots))
            _add(cls, "__repr__", _repr)
            if eq:
                values = _values([each.name for each in fields(cls) if each.compare])
                _add(cls, "__eq__", _equality(values))
                cls.__hash__ = (lambda self: hash(values(self))) if frozen else None
            if frozen:
                cls.__setattr__, cls.__delattr__ = _refuse_value, _refuse_deletion
                if slots:
                    cls.__setstate__ = _set_state  # for copies
            return cls

        return made if cls is None else made(cls)


@cache
def _copier(cls: type) -> Callable[..., Any]:
    """Return the function that makes a copy of an instance of this class with other values."""
    parameters, values, keywords = list[str](), list[str](), list[str]()
    for each in fields(cls):
        if each.init:
            name = each.name
            parameters.append(f"{name}=_SAME")
            value = f"_given.{name} if {name} is _SAME else {name}"
            (keywords if each.kw_only else values).append(f"{name}=({value})" if each.kw_only else value)
    names: dict[str, Any] = {"_SAME": object(), "_made": cls}
    code = f"def replace(_given, /, *, {', '.join(parameters)}): return _made({', '.join(values + keywords)})"
    exec(code, names)  # noqa: S102 - names of fields, as in the standard library
    copier: Callable[..., Any] = names["replace"]
    return copier


def _add(cls: type, name: str, function: Callable[..., Any]) -> None:
    """Give the class a function, unless it has one of that name itself."""
    if name not in vars(cls):
        setattr(cls, name, function)


def _initialize_first(cls: type, *, frozen: bool, slots: bool) -> Callable[..., None]:
    """Return the `__init__` that compiles the real one at the first call, and is replaced by it."""

    def __init__(self: Any, *args: Any, **named: Any) -> None:
        real = _compiled(cls, frozen=frozen, slots=slots)
        cls.__init__ = real  # type: ignore[misc]
        real(self, *args, **named)

    return __init__


def _compiled(cls: type, *, frozen: bool, slots: bool) -> Callable[..., None]:
    names: dict[str, Any] = {"_MISSING": MISSING}
    positional, keywords = ["self"], list[str]()
    body = []
    for each in fields(cls):
        default, value = _default_and_value(each, names)
        if each.init:
            (keywords if each.kw_only else positional).append(f"{each.name}{default}")
        elif not default:
            continue  # whoever makes an instance sets it
        if frozen:
            names[f"_set_{each.name}"] = _setter(cls, each.name, slots=slots)
        body.append(f"_set_{each.name}(self, {value})" if frozen else f"self.{each.name} = {value}")
    if hasattr(cls, "__post_init__"):
        body.append("self.__post_init__()")
    signature = ", ".join([*positional, *(["*", *keywords] if keywords else [])])
    lines = [f"def __init__({signature}):", *(body or ["pass"])]
    exec("\n    ".join(lines), names)  # noqa: S102 - names of fields, as in the standard library
    function: Callable[..., None] = names["__init__"]
    function.__qualname__ = f"{cls.__qualname__}.__init__"
    return function


def _default_and_value(each: "Field[Any]", names: dict[str, Any]) -> tuple[str, str]:
    """Return the code of a parameter's default and that of the field's value; add the names that they use."""
    name = each.name
    if each.default_factory is not MISSING:
        names[f"_make_{name}"] = each.default_factory
        made = f"_make_{name}()"
        return "=_MISSING", f"{made} if {name} is _MISSING else {name}" if each.init else made
    if each.default is not MISSING:
        names[f"_default_{name}"] = each.default
        return f"=_default_{name}", name if each.init else f"_default_{name}"
    return "", name


def _setter(cls: type, name: str, *, slots: bool) -> Callable[[Any, object], None]:
    if slots:
        setter: Callable[[Any, object], None] = getattr(cls, name).__set__  # of the slot: the quickest way
        return setter
    return lambda self, value: object.__setattr__(self, name, value)


def _repr(self: Any) -> str:
    shown = ", ".join(f"{each.name}={getattr(self, each.name)!r}" for each in fields(self) if each.repr)
    return f"{type(self).__qualname__}({shown})"


def _equality(values: Callable[[Any], tuple[Any, ...]]) -> Callable[[Any, object], bool]:
    def __eq__(self: Any, other: object) -> bool:
        return values(self) == values(other) if other.__class__ is self.__class__ else NotImplemented

    return __eq__


def _values(names: list[str]) -> Callable[[Any], tuple[Any, ...]]:
    if len(names) > 1:
        return attrgetter(*names)
    return lambda self: tuple(getattr(self, name) for name in names)


def _refuse_value(self: Any, name: str, value: object) -> NoReturn:
    raise FrozenInstanceError(f"cannot assign to field {name!r}")


def _refuse_deletion(self: Any, name: str) -> NoReturn:
    raise FrozenInstanceError(f"cannot delete field {name!r}")


def _set_state(self: Any, state: Any) -> None:
    for name, value in state[1].items():
        object.__setattr__(self, name, value)
