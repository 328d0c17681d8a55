"""One-threaded linear algebra, whose results do not depend on which thread finishes first."""

import importlib
from typing import Any


def one_thread(*modules: str) -> Any:
    """Return a context in which the linear algebra of the named modules runs on one thread.

    Several threads add partial sums in the order in which they finish, so two fits would differ in
    the last bits and sometimes in a code. A limit only reaches libraries that are loaded when it is
    set, so the named modules are imported first.
    """
    from threadpoolctl import threadpool_limits

    for name in modules:
        importlib.import_module(name)
    return threadpool_limits(limits=1)
