"""Run stages of work concurrently: each in its own threads, in order, a little ahead.

GDAL, PyTorch and most of NumPy release Python's global lock while they work, so reading, network,
blending and writing overlap.
"""

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from queue import Queue
from typing import TypeVar

from geodecloud.errors import GeodecloudError
from geodecloud.raster.thread_options import inherited

T = TypeVar("T")
R = TypeVar("R")


def prefetch(
    items: Iterator[T], cancelled: threading.Event | None = None
) -> Generator[T, None, None]:
    """Yield the same items, each made in a thread while the caller works on the one before.

    An error in the thread is raised here. When the caller stops, the thread ends too, and closes
    ``items`` if that is a generator.

    Args:
        cancelled: an event to set when the caller stops, see :func:`cancellable`.
    """
    made: Queue[tuple[str, T | BaseException | None]] = Queue()
    room = threading.Semaphore(1)
    cancelled = cancelled or threading.Event()

    def make() -> None:
        try:
            room.acquire()
            for item in items:
                made.put(("item", item))
                del item  # it is the caller's now
                room.acquire()
                if cancelled.is_set():
                    break
        except BaseException as error:
            made.put(("error", error))
        finally:
            _close(items)
            made.put(("end", None))

    thread = threading.Thread(target=inherited(make), daemon=True)
    kind = ""
    try:
        _start(thread, made)  # inside: an interrupt while it starts must not leave it behind
        while kind != "end":
            kind, value = made.get()
            if kind == "error":
                raise value  # type: ignore[misc]
            if kind == "item":
                room.release()
                yield value  # type: ignore[misc]
            value = None
    finally:
        cancelled.set()
        room.release()
        while kind != "end":  # drain the queue, so that the thread can end
            kind, _ = made.get()
        if thread.ident is not None:
            thread.join()


def _start(thread: threading.Thread, made: Queue[tuple[str, T | BaseException | None]]) -> None:
    """Start the thread that fills the queue; if no thread can be started, end the queue."""
    try:
        thread.start()
    except RuntimeError:
        made.put(("end", None))
        raise


def cancellable(items: Iterator[T], cancelled: threading.Event) -> Iterator[T]:
    """Yield the same items, and raise once ``cancelled`` is set.

    This also stops a later stage that gathers many items before it yields one.

    Raises:
        GeodecloudError: ``cancelled`` is set. It ends the stage's thread, and no user sees it.
    """
    for item in items:
        if cancelled.is_set():
            raise GeodecloudError("cancelled")
        yield item


def ordered_map(
    function: Callable[[T], R], items: Iterator[T], calls: int
) -> Generator[tuple[T, R], None, None]:
    """Yield each item with the function's result, in the order of the items.

    Args:
        calls: number of concurrent calls, each in its own thread; one more item waits.
    """
    pool, call = ThreadPoolExecutor(calls), inherited(function)
    pending: deque[tuple[T, Future[R]]] = deque()
    try:
        for item in items:
            pending.append((item, pool.submit(call, item)))
            if len(pending) > calls:
                first, future = pending.popleft()
                yield first, future.result()
        while pending:
            first, future = pending.popleft()
            yield first, future.result()
    finally:
        pool.shutdown(cancel_futures=True)
        _close(items)


def _close(items: Iterable[object]) -> None:
    close = getattr(items, "close", None)
    if close:
        close()
