"""Start a pool of threads for PyTorch, each of which computes on a single core."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Lock, Thread

import torch

from geodecloud.errors import GeodecloudError

_THREAD_SETTING = Lock()


def pool_of(threads: int) -> ThreadPoolExecutor:
    """Return a pool whose threads have all started, so that PyTorch's setting changes no more.

    Raises:
        GeodecloudError: the system cannot start as many threads.
    """
    pool = ThreadPoolExecutor(threads, initializer=_compute_in_one_thread)
    all_there = Barrier(threads)
    try:
        list(pool.map(lambda _: all_there.wait(), range(threads)))
    except RuntimeError as error:
        all_there.abort()
        pool.shutdown(cancel_futures=True)
        raise GeodecloudError(
            f"{threads} threads cannot be started ({error}): give fewer `threads`"
        ) from error
    return pool


def _compute_in_one_thread() -> None:
    """Make PyTorch compute in this thread alone; the threads of the pool share the cores.

    PyTorch makes the last setting of any thread the default of threads that start later, the user's
    included. So a further thread restores the default.
    """
    with _THREAD_SETTING:
        default = torch.get_num_threads()
        torch.set_num_threads(1)
        restoring = Thread(target=torch.set_num_threads, args=(default,))
        restoring.start()
        restoring.join()
