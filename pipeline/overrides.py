"""`path=value` overrides on frozen dataclasses: the only way a setting is changed from outside."""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

Config = TypeVar("Config")


def apply_overrides(config: Config, overrides: Iterable[str]) -> Config:
    """`config` with every `path=value` applied; raises `ValueError` naming path, value and cure.

    All are applied at once, so that settings which must fit each other can change together.
    """
    changes: dict[tuple[str, ...], str] = {}
    for override in overrides:
        path, equals, text = override.partition("=")
        if not equals or not path:
            raise ValueError(f"{override!r} is no setting: write path=value, such as steps=1000")
        changes[tuple(path.split("."))] = text
    return _replace(config, changes, ())


def describe(config: Any, prefix: str = "") -> dict[str, Any]:
    """Every setting of a nested dataclass, as plain JSON values by dotted path."""
    flat: dict[str, Any] = {}
    for field in fields(config):
        value = getattr(config, field.name)
        if is_dataclass(value):
            flat |= describe(value, f"{prefix}{field.name}.")
        else:
            flat[prefix + field.name] = str(value) if isinstance(value, Path) else value
    return flat


def _replace(config: Any, changes: Mapping[tuple[str, ...], str], above: tuple[str, ...]) -> Any:
    """`config`, which stands at the path `above`, with the changes to it and below it."""
    by_field: dict[str, dict[tuple[str, ...], str]] = {}
    for (name, *rest), text in changes.items():
        by_field.setdefault(name, {})[tuple(rest)] = text
    known = [field.name for field in fields(config)]
    values = {}
    for name, inner in by_field.items():
        path = ".".join((*above, name))
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"it has {', '.join(known)}"
            raise ValueError(
                f"no field {name!r} in {type(config).__name__} (from {path!r}); {hint}"
            )
        current = getattr(config, name)
        if is_dataclass(current):
            if () in inner:
                group = ", ".join(f"{path}.{field.name}" for field in fields(current))
                raise ValueError(f"{path} is a group of settings; set one of {group}")
            values[name] = _replace(current, inner, (*above, name))
        elif () not in inner:
            deeper = ".".join((path, *next(iter(inner))))
            raise ValueError(f"{deeper!r} goes below {name!r}, a single value: {current!r}")
        else:
            values[name] = _parse(inner[()], get_type_hints(type(config))[name], path)
    try:
        return replace(config, **values)
    except ValueError as error:
        place = ".".join(above)
        if place in str(error):
            raise
        # A group that stands under several names speaks of itself by one of them.
        raise ValueError(f"{place}: {error}") from error


def _parse(text: str, kind: Any, path: str) -> Any:
    origin = get_origin(kind)
    if origin in (Union, UnionType):
        choices = get_args(kind)
        if NoneType in choices and text.lower() in ("none", "null"):
            return None
        (kind,) = [choice for choice in choices if choice is not NoneType]
        origin = get_origin(kind)
    if origin is Literal:
        allowed = [str(choice) for choice in get_args(kind)]
        if text not in allowed:
            raise ValueError(f"{path} must be one of {', '.join(allowed)}; got {text!r}")
        return get_args(kind)[allowed.index(text)]
    if origin is tuple:
        element = get_args(kind)[0]
        return tuple(_parse(part, element, path) for part in text.split(",") if part)
    if kind is bool:
        if text.lower() not in ("true", "false"):
            raise ValueError(f"{path} must be true or false; got {text!r}")
        return text.lower() == "true"
    try:
        return kind(text.replace("_", "") if kind is int else text)
    except ValueError:
        raise ValueError(f"{path} must be {kind.__name__}; got {text!r}") from None
