"""Verifier that calls the user's own function."""

from __future__ import annotations

import hashlib
import importlib
import sys
from collections.abc import Callable
from importlib.machinery import PathFinder
from numbers import Real
from pathlib import Path
from typing import Any

from apo_core.errors import ApoError
from apo_core.system.files import sha256_of
from apo_core.verifiers.base import Verdict, shortened

_READ = 1000  # characters kept of the answer that was read


class UserVerifier:
    """`package.module:function`, called as `function(completion, answer, row)`.

    The function returns a reward from 0 to 1 or a bool, or a tuple: reward, reason, and the answer that was
    read. Responses vote by that answer (maj@k), or by their whole text if the tuple is shorter. The module is
    searched in the workspace's directory of verifiers, then in the environment. The version is a hash of
    source: of all Python files in that directory if the module lies there, else of the module's own file,
    so a change in what an installed module imports goes unnoticed.
    """

    bounded = False
    reads_row = True

    def __init__(self, name: str, directory: Path) -> None:
        """Find and hash the source without running it.

        Raises:
            ApoError: there is no such module.
        """
        self.name = name
        self.directory = directory
        module = name.partition(":")[0]
        source = _source(module, directory)
        if source is None:
            raise ApoError(f"verifier.name: {name}: there is no module {module} in {directory} or installed")
        self.version = _hash(source, directory)
        self._function: Callable[..., Any] | None = None

    def load(self) -> None:
        """See `Verifier`.

        Raises:
            ApoError: the module has no such function.
        """
        sys.dont_write_bytecode = True  # DVC watches the directory
        sys.path.insert(0, str(self.directory))
        module, _, function_name = self.name.partition(":")
        function = getattr(importlib.import_module(module), function_name, None)
        if not callable(function):
            raise ApoError(f"verifier.name: {self.name}: module {module} has no function {function_name}")
        self._function = function

    def answer_problem(self, answer: str, row: dict[str, Any]) -> str | None:
        """See `Verifier`; only the function knows what a gold answer must look like."""
        return None

    def score(self, completion: str, answer: str, row: dict[str, Any]) -> Verdict:
        """See `Verifier`."""
        assert self._function is not None, "load() comes first"
        returned = self._function(completion, answer, row)
        parts = returned if isinstance(returned, tuple) and 1 <= len(returned) <= 3 else (returned,)
        reward, reason, read = (*parts, None, None)[:3]
        if not (isinstance(reward, Real) and 0 <= float(reward) <= 1):
            return Verdict(None, None, f"error: returned {shortened(repr(returned))}, no reward from 0 to 1")
        if len(parts) < 3:
            read = completion.strip()
        reason = f"{self.name}: {float(reward):g}" if reason is None else str(reason)
        return Verdict(float(reward), None if read is None else _storable(str(read)), reason)


def _storable(text: str) -> str:
    """Keep the end of a text, as valid UTF-8 that a table can hold."""
    return text[-_READ:].encode("utf-8", "replace").decode()


def _source(module: str, directory: Path) -> Path | None:
    """Find the module's file without importing the packages that contain it."""
    importlib.invalidate_caches()
    places: Any = [str(directory), *sys.path]
    spec = None
    for part in module.split("."):
        spec = PathFinder.find_spec(part, places) if places else None
        if spec is None:
            return None
        places = spec.submodule_search_locations
    return Path(spec.origin) if spec is not None and spec.origin is not None else None


def _hash(source: Path, directory: Path) -> str:
    if not source.is_relative_to(directory):
        return sha256_of(source)
    digest = hashlib.sha256()
    for file in sorted(directory.rglob("*.py")):
        digest.update(f"{file.relative_to(directory)}\0{sha256_of(file)}\n".encode())
    return digest.hexdigest()
