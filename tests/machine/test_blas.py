"""The BLAS limit applies to the whole process, whichever threads set it."""

import threading
from concurrent.futures import ThreadPoolExecutor

from threadpoolctl import threadpool_info

from chalknet.machine.blas import one_blas_thread


def blas_threads():
    """The threads of NumPy's BLAS. SciPy has one of its own, and another test may have loaded it since."""
    pools = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
    return [pool["num_threads"] for pool in pools if "scipy.libs" not in pool["filepath"]]


def test_the_limit_lasts_until_the_last_thread_has_left():
    before = blas_threads()
    entered, may_leave = threading.Event(), threading.Event()

    def stay():
        with one_blas_thread():
            entered.set()
            may_leave.wait(10)

    with ThreadPoolExecutor(1) as pool:
        with one_blas_thread():
            staying = pool.submit(stay)
            assert entered.wait(10)
        assert set(blas_threads()) == {1}  # the first has left, the second has not
        may_leave.set()
        staying.result()
    assert blas_threads() == before


def test_the_limit_nests_and_ends_after_an_error():
    before = blas_threads()
    try:
        with one_blas_thread(), one_blas_thread():
            raise ZeroDivisionError
    except ZeroDivisionError:
        pass
    assert blas_threads() == before
