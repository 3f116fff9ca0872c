"""Checks of the environment that must run before libraries are imported: training programs import this first."""

from .threads import end_without_threads

end_without_threads()
