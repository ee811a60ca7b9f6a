"""Two processes that call each other's functions: the tests in one, the program under test in the other.

Values cross as plain data (`values`); of anything else the other side gets a `Remote`, through which it
calls, reads attributes, iterates and calculates. The process of the tests lets the program do one thing only:
call functions that a test has passed to it.
"""

from __future__ import annotations

import builtins
import operator

from .values import decode, encode, receive, send

TYPE_CHECKING = False  # module typing takes longer to import than the rest together
if TYPE_CHECKING:
    from typing import Any

# What a Remote forwards, with the function that the other side applies. None learns what a test expects:
# an object that learned it in `result - 3` or `3 in result` could answer whatever makes the test pass.
_ALONE: dict[str, Any] = {
    **{
        f"__{name}__": getattr(builtins, name)
        for name in ["len", "str", "repr", "bool", "int", "float", "iter", "next", "abs"]
    },
    **{f"__{name}__": getattr(builtins, name) for name in ("round", "reversed")},
    **{f"__{name}__": getattr(operator, f"__{name}__") for name in ("neg", "pos", "invert")},
    **{f"__{name}__": getattr(operator, f"__{name}__") for name in ("getitem", "setitem", "delitem")},
    "__setattr__": setattr,
}
# Only between two objects of the program.
_AMONG_THEM: dict[str, Any] = {
    f"__{name}__": getattr(operator, f"__{name}__")
    for name in [
        "eq",
        "lt",
        "le",
        "gt",
        "ge",
        "add",
        "sub",
        "mul",
        "truediv",
        "floordiv",
        "mod",
        "pow",
        "matmul",
        "and",
        "or",
        "xor",
    ]
}
_OPERATIONS = _ALONE | _AMONG_THEM
_MUTABLE: Any = (list, dict, set, bytearray)


class Peer:
    """This side of a pair of pipes, and the objects that it keeps for the other side."""

    def __init__(self, reader: int, writer: int, *, calls_only: bool) -> None:
        """Take the pipes' ends; with `calls_only` the other side may call what it was passed, and no more."""
        self._reader, self._writer, self._calls_only = reader, writer, calls_only
        self._kept: list[Any] = []
        self._names: dict[str, Any] = {}
        self._failure: BaseException | None = None

    def request(
        self, do: str, of: int = -1, name: str = "", arguments: tuple[Any, ...] = (), named: Any = None
    ) -> Any:
        """Have the other side do something, answer what it asks meanwhile, and return its result."""
        send(
            self._writer,
            {
                "do": do,
                "of": of,
                "name": name,
                "arguments": [encode(argument, self._keep) for argument in arguments],
                "named": {key: encode(value, self._keep) for key, value in (named or {}).items()},
            },
        )
        while "do" in (message := receive(self._reader)):
            self._answer(message)
        if "raised" in message:
            raised = _exception(*message["raised"])
            # A StopIteration would silently end a loop of the test over other things.
            if isinstance(raised, StopIteration) and name != "__next__":
                raise RuntimeError(str(raised))
            raise raised
        for argument, content in zip(arguments, message["changed"], strict=True):
            if content is not None:
                _replace(argument, decode(content, self._fetch))
        return decode(message["value"], self._fetch)

    def serve(self, names: dict[str, Any], failure: BaseException | None) -> None:
        """Answer until the other side ends; `names` are what it may look up, if they could be made."""
        self._names, self._failure = names, failure
        try:
            while True:
                self._answer(receive(self._reader))
        except EOFError:
            return

    def _answer(self, message: Any) -> None:
        try:
            if self._calls_only and message["do"] != "call":
                raise PermissionError("a program may only call what a test passes to it")
            arguments = [decode(argument, self._fetch) for argument in message["arguments"]]
            before = [encode(argument, self._keep) for argument in arguments]
            named = {key: decode(value, self._fetch) for key, value in message["named"].items()}
            value = encode(self._done(message, arguments, named), self._keep)
            after = [encode(argument, self._keep) for argument in arguments]
            changed = [new if new != old else None for old, new in zip(before, after, strict=True)]
            reply = {"value": value, "changed": changed}
        except BaseException as error:  # noqa: BLE001 - it is the other side's to handle
            reply = {"raised": [type(error).__name__, _text(error)]}
        send(self._writer, reply)

    def _done(self, message: Any, arguments: list[Any], named: dict[str, Any]) -> Any:
        if self._failure is not None:
            raise self._failure
        if message["do"] == "names":
            return [name for name in self._names if isinstance(name, str)]
        if message["do"] == "name":
            return self._names[message["name"]]
        target = self._kept[message["of"]]
        if message["do"] == "call":
            return target(*arguments, **named)
        if message["do"] == "attribute":
            return getattr(target, message["name"])
        return _OPERATIONS[message["name"]](target, *arguments)

    def _keep(self, value: Any) -> Any:
        if type(value) is Remote:
            if value._peer is not self:
                raise TypeError("an object of another program")
            return {"yours": value._number}
        if self._calls_only and not callable(value):
            raise TypeError(f"a test cannot pass a value of type {type(value).__name__} to the program")
        for number, kept in enumerate(self._kept):
            if kept is value:
                return {"object": number}
        self._kept.append(value)
        return {"object": len(self._kept) - 1}

    def _fetch(self, message: Any) -> Any:
        ((kind, number),) = message.items()
        if kind == "yours":
            return self._kept[int(number)]
        if kind == "object":
            return Remote(self, int(number))
        raise ValueError(f"a value of unknown kind {kind!r}")


class Remote:
    """An object of the other side."""

    _peer: Peer
    _number: int

    def __init__(self, peer: Peer, number: int) -> None:
        self.__dict__.update(_peer=peer, _number=number)

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        """Call it, there."""
        return self._peer.request("call", self._number, "", arguments, named)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name != "__name__":
            raise AttributeError(name)
        return self._peer.request("attribute", self._number, name)

    def __hash__(self) -> int:
        return self._number


def _forward_alone(name: str) -> Any:
    def forward(self: Remote, *arguments: Any) -> Any:
        return self._peer.request("operate", self._number, name, arguments)

    return forward


def _forward_among(name: str) -> Any:
    def forward(self: Remote, other: object) -> Any:
        return (
            self._peer.request("operate", self._number, name, (other,))
            if type(other) is Remote
            else NotImplemented
        )

    return forward


for _name in _ALONE:
    setattr(Remote, _name, _forward_alone(_name))
for _name in _AMONG_THEM:
    setattr(Remote, _name, _forward_among(_name))


def _exception(name: Any, text: Any) -> BaseException:
    kind = getattr(builtins, name, None) if isinstance(name, str) else None
    if not (isinstance(kind, type) and issubclass(kind, BaseException)):
        kind = type(str(name)[:80], (Exception,), {})
    try:
        made: BaseException = kind(text)
        return made
    except TypeError:  # such as UnicodeDecodeError, which takes more than a text
        return Exception(f"{name}: {text}")


def _text(error: BaseException) -> str:
    try:
        return str(error)[:1000]
    except Exception:  # noqa: BLE001 - a program's exception may have no text
        return ""


def _replace(argument: Any, content: Any) -> None:
    """Give a list, dict, set or bytearray that the other side has changed the content that it has there."""
    if not isinstance(argument, _MUTABLE) or type(content) is not type(argument):
        return
    argument.clear()
    if isinstance(argument, list | bytearray):
        argument.extend(content)
    else:
        argument.update(content)
