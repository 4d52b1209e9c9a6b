"""Where record-level work runs: in this process, or on a Ray cluster. The products are the same.

A step hands over functions and items and takes the results in the order of the items: counting,
numbering and writing stay in one process, so that nothing depends on who computed what.
"""

import importlib.util
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, TypeVar

Item = TypeVar("Item")
Part = TypeVar("Part")
Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineConfig:
    """Who computes; part of no fingerprint."""

    name: Literal["local", "ray"] = "local"
    address: str | None = None
    """Of a running Ray cluster: `auto`, the one this machine is part of, or `host:port`; `local`
    starts one on this machine for the run. None is `auto`."""

    def __post_init__(self) -> None:
        if self.name not in ("local", "ray"):
            raise ValueError(f"engine.name must be local or ray, got {self.name!r}")
        if self.address is None:
            return
        if self.name == "local":
            raise ValueError(f"engine.address {self.address!r} is Ray's: add --engine ray")
        host, colon, port = self.address.rpartition(":")
        if self.address not in ("auto", "local") and not (
            host and colon and port.isdecimal() and "/" not in host
        ):
            raise ValueError(
                f"engine.address must be auto, local or host:port, got {self.address!r}"
            )


class Engine(Protocol):
    """Functions are module-level ones or `partial`s of them; they, items and results pickle."""

    def map(
        self,
        function: Callable[[Item], Result],
        items: Sequence[Item],
        *,
        memory_bytes: int = 0,
    ) -> Iterator[Result]:
        """Yield the result of each item, in order. `memory_bytes` is what one call may take."""
        ...

    def flat_map(
        self,
        expand: Callable[[Item], Iterable[Part]],
        function: Callable[[Part], Result],
        items: Sequence[Item],
    ) -> Iterator[Iterator[Result]]:
        """Yield for each item the results of the parts it expands to; all of it in order.

        An item's results are to be taken before the next item's.
        """
        ...


class LocalEngine:
    """One thing after another in this process, when its result is asked for."""

    def map(
        self,
        function: Callable[[Item], Result],
        items: Sequence[Item],
        *,
        memory_bytes: int = 0,
    ) -> Iterator[Result]:
        """Call the function on each item."""
        return map(function, items)

    def flat_map(
        self,
        expand: Callable[[Item], Iterable[Part]],
        function: Callable[[Part], Result],
        items: Sequence[Item],
    ) -> Iterator[Iterator[Result]]:
        """Call the function on each part of each item."""
        return (map(function, expand(item)) for item in items)


LOCAL_ENGINE = LocalEngine()


def open_engine(
    config: EngineConfig, *, shared: Path, inputs: Sequence[Path]
) -> AbstractContextManager[Engine]:
    """Return the engine as a context; Ray's looks for `shared` and `inputs` on every node."""
    if config.name == "local":
        return nullcontext(LOCAL_ENGINE)
    if importlib.util.find_spec("ray") is None:
        raise ValueError('--engine ray needs Ray, here and on every node: pip install "ray[data]"')
    from .ray_engine import connect  # the local engine must not import Ray

    return connect(config.address or "auto", shared=shared, inputs=inputs)
