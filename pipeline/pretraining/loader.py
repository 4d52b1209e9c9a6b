"""Packs built ahead of need by threads: NumPy frees the interpreter, so they cost the loop little.

Which threads, how many and how far ahead change when a pack is built, and nothing in it.
"""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from .batches import PackedBatch, PackStream


class PackLoader:
    """Hands out packs by number; holds no more than those asked for and those announced.

    `pin_memory` puts packs where a GPU can copy from while the loop goes on.
    """

    def __init__(self, stream: PackStream, *, workers: int, pin_memory: bool = False) -> None:
        self._stream = stream
        self._pin_memory = pin_memory
        self._pending: dict[int, Future[PackedBatch]] = {}
        self._planning: Future[object] | None = None
        self._builders = ThreadPoolExecutor(workers, "packs") if workers else None
        # Of its own: a plan of seconds must not stand before the packs of the next step.
        self._planner = ThreadPoolExecutor(1, "epochs") if workers else None

    def load(self, numbers: Sequence[int], upcoming: Sequence[int] = ()) -> list[PackedBatch]:
        """The packs with these numbers, in order; those of `upcoming` are built meanwhile.

        What was announced before and is wanted no more is dropped. An error of a worker is raised
        here as a `RuntimeError` that names the pack.
        """
        if self._builders is None:
            return [self._build(number) for number in numbers]
        wanted = dict.fromkeys([*numbers, *upcoming])
        for number in self._pending.keys() - wanted.keys():
            self._pending.pop(number).cancel()
        for number in wanted:
            if number not in self._pending:
                self._pending[number] = self._builders.submit(self._build, number)
        packs = [self._wait(number) for number in numbers]
        for number in set(numbers) - set(upcoming):
            del self._pending[number]
        if numbers:
            self._plan_ahead(numbers[-1])
        return packs

    def close(self) -> None:
        """Stop the threads; what they had built is dropped. May be called twice."""
        for pool in (self._builders, self._planner):
            if pool is not None:
                pool.shutdown(cancel_futures=True)
        self._pending.clear()

    def _build(self, number: int) -> PackedBatch:
        pack = self._stream.pack(number)
        return pack.pin_memory() if self._pin_memory else pack

    def _wait(self, number: int) -> PackedBatch:
        future = self._pending[number]
        error = future.exception()
        if error is not None:
            del self._pending[number]  # asked for again, it is built again
            raise RuntimeError(
                f"pack {number} could not be built: {type(error).__name__}: {error}"
            ) from error
        return future.result()

    def _plan_ahead(self, number: int) -> None:
        """Plan the next epoch in the second half of this one, so that its end is no stop."""
        epochs = self._stream.epochs
        epoch, index = epochs.locate(number)
        is_idle = self._planning is None or self._planning.done()
        is_late = 2 * index >= epochs.num_packs(epoch) and not epochs.is_planned(epoch + 1)
        if is_idle and is_late and self._planner is not None:
            self._planning = self._planner.submit(epochs.plan, epoch + 1)
