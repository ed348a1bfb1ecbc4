"""Run stages of work side by side: each in threads of its own, in order, a little ahead.

GDAL, PyTorch and most of NumPy let other Python threads run while they work, so reading, network,
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
    """Yield the same items in the same order, each made in a thread while the caller has another.

    An error in the thread is raised here. When the caller stops, the thread ends too, and
    ``items``, where it is a generator, is closed in it.

    Args:
        cancelled: is set when the caller stops; see :func:`cancellable`.
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
        while kind != "end":  # a thread that waits to hand over something can end then
            kind, _ = made.get()
        if thread.ident is not None:
            thread.join()


def _start(thread: threading.Thread, made: Queue[tuple[str, T | BaseException | None]]) -> None:
    """Start the thread that fills the queue; end the queue where the system gives no thread."""
    try:
        thread.start()
    except RuntimeError:
        made.put(("end", None))
        raise


def cancellable(items: Iterator[T], cancelled: threading.Event) -> Iterator[T]:
    """Yield the same items, and raise once ``cancelled`` is set.

    A later stage that gathers many items before it yields one can be cancelled meanwhile.

    Raises:
        GeodecloudError: ``cancelled`` is set; in the thread of the stage, where nobody sees it.
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
        calls: calls that run at once, in as many threads; one more item waits.
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
