"""The environment's number of threads, looked at before any library reads it.

Nothing but the standard library is imported: torch and its like cannot be imported under a number that is none.
"""

import os
import re
import sys
from pathlib import Path

THREAD_VARIABLES = ("OMP_NUM_THREADS", "NUMEXPR_MAX_THREADS", "NUMEXPR_NUM_THREADS")


class ThreadsError(ValueError):
    """The environment's number of threads is none."""


def check_threads() -> None:
    """Refuse a number of threads that is none; an empty one counts as not set.

    Raises:
        ThreadsError: naming the variable.
    """
    for name in THREAD_VARIABLES:
        number = os.environ.get(name)
        if number == "":
            del os.environ[name]
        elif number is not None and not re.fullmatch("0*[1-9][0-9]{0,4}", number):
            raise ThreadsError(f"the environment's {name} is {number!r}; set it to 1 or more, or unset it")


def end_without_threads() -> None:
    """End the program in one line and exit code 2 if the number of threads is none."""
    try:
        check_threads()
    except ThreadsError as error:
        print(f"{Path(sys.argv[0]).name}: {error}", file=sys.stderr)
        sys.exit(2)
