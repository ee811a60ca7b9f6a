"""Values that cross between processes that do not trust each other: plain data, written as JSON.

Only values cross, never behaviour: what comes back from a program is rebuilt here from known kinds, so an
object whose `==` always holds cannot be in it. An object of any other kind stays where it is, and the other
side gets a number for it.
"""

from __future__ import annotations

import json

from .files import read_exactly, write_all

TYPE_CHECKING = False  # module typing takes longer to import than the rest together
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Keep = Callable[[Any], Any]
    Fetch = Callable[[Any], Any]

MOST_BYTES = 16 * 2**20  # of one message
_SCALARS: tuple[Any, ...] = (int, float, str)
_SEQUENCES: dict[str, Any] = {"tuple": tuple, "set": set, "frozenset": frozenset}
_BYTES: dict[str, Any] = {"bytes": bytes, "bytearray": bytearray}


class NotPlain(TypeError):
    """A value that is no plain data."""


def refuse(value: Any) -> Any:
    """Refuse an object, where there is nobody who could keep it."""
    raise NotPlain(f"a value of type {type(value).__name__} cannot be compared")


def encode(value: Any, keep: Keep = refuse) -> Any:
    """Turn a value into what JSON can hold; `keep` makes what stands for an object of another kind.

    Subclasses become their base: a `Counter` is a dict, a named tuple is a tuple.
    """
    if value is None or isinstance(value, bool):
        return value
    for kind in _SCALARS:
        if isinstance(value, kind):
            # Not `kind(value)`, which asks the subclass.
            return value if type(value) is kind else kind.__getnewargs__(value)[0]
    if isinstance(value, list):
        return [encode(item, keep) for item in list.__iter__(value)]
    if isinstance(value, dict):
        return {"dict": [[encode(key, keep), encode(item, keep)] for key, item in dict.items(value)]}
    for name, kind in _SEQUENCES.items():
        if isinstance(value, kind):
            return {name: [encode(item, keep) for item in kind.__iter__(value)]}
    return _rarer(value, keep)


def _rarer(value: Any, keep: Keep) -> Any:
    if isinstance(value, bytes | bytearray):
        return (
            {type(value).__name__: bytes(value).hex()} if type(value) in (bytes, bytearray) else keep(value)
        )
    if isinstance(value, complex):
        return {"complex": [value.real, value.imag]}
    if type(value) is range:
        return {"range": [value.start, value.stop, value.step]}
    module = type(value).__module__
    if module == "decimal" and type(value).__name__ == "Decimal":
        return {"Decimal": str(value)}
    if module == "fractions" and type(value).__name__ == "Fraction":
        return {"Fraction": [value.numerator, value.denominator]}
    if module == "numpy" and getattr(value, "shape", None) == ():
        return encode(value.item(), keep)
    return keep(value)


def decode(message: Any, fetch: Fetch = refuse) -> Any:
    """Rebuild a value from what `encode` made; `fetch` makes what stands for an object of another kind.

    Raises:
        ValueError, TypeError, KeyError: the message is malformed.
    """
    if isinstance(message, list):
        return [decode(item, fetch) for item in message]
    if not isinstance(message, dict):
        return message
    ((kind, content),) = message.items()
    if kind == "dict":
        return {decode(key, fetch): decode(item, fetch) for key, item in content}
    if kind in _SEQUENCES:
        return _SEQUENCES[kind](decode(item, fetch) for item in content)
    if kind in _BYTES:
        return _BYTES[kind].fromhex(content)
    if kind == "complex":
        return complex(*content)
    if kind == "range":
        return range(*content)
    if kind == "Decimal":
        from decimal import Decimal

        return Decimal(content)
    if kind == "Fraction":
        from fractions import Fraction

        return Fraction(*content)
    return fetch(message)


def dump(message: Any) -> bytes:
    """Write a message; raises ValueError if it is too long."""
    data = json.dumps(message, separators=(",", ":")).encode()
    if len(data) > MOST_BYTES:
        raise ValueError(f"a value of more than {MOST_BYTES // 2**20} MiB")
    return data


def send(file: int, message: Any) -> None:
    """Write a message with its length before it."""
    content = dump(message)
    write_all(file, len(content).to_bytes(8, "big") + content)


def receive(file: int) -> Any:
    """Read a message.

    Raises:
        EOFError: the other side is gone.
        ValueError: the message is too long, or not JSON.
    """
    size = int.from_bytes(read_exactly(file, 8), "big")
    if size > MOST_BYTES:
        raise ValueError("a message is too long")
    return json.loads(read_exactly(file, size))
