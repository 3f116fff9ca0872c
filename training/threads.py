"""Check the number of threads in the environment before any library reads it.

Only the standard library is used: torch and similar libraries fail on import if the number is not valid.
"""

import os
import re
import sys
from pathlib import Path

THREAD_VARIABLES = ("OMP_NUM_THREADS", "NUMEXPR_MAX_THREADS", "NUMEXPR_NUM_THREADS")


class ThreadsError(ValueError):
    """Error for an environment variable whose number of threads is not a positive whole number."""


def check_threads() -> None:
    """Check that the numbers of threads are positive whole numbers; an empty variable counts as not set.

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
    """End the program with one line and exit code 2 if a number of threads is not valid."""
    try:
        check_threads()
    except ThreadsError as error:
        print(f"{Path(sys.argv[0]).name}: {error}", file=sys.stderr)
        sys.exit(2)
