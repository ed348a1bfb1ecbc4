"""Start threads that compute with PyTorch side by side, each alone on a core."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Lock, Thread

import torch

from geodecloud.errors import GeodecloudError

_THREAD_SETTING = Lock()


def pool_of(threads: int) -> ThreadPoolExecutor:
    """Return a pool whose threads have all begun: later ones would set PyTorch's threads later.

    Raises:
        GeodecloudError: the system gives no more threads.
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
    """Let this thread of the pool compute alone: the threads of the pool share the cores.

    PyTorch takes the last setting of any thread as the default of threads that start later, the
    user's too. So another thread puts the default back.
    """
    with _THREAD_SETTING:
        default = torch.get_num_threads()
        torch.set_num_threads(1)
        restoring = Thread(target=torch.set_num_threads, args=(default,))
        restoring.start()
        restoring.join()
