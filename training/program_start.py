"""Imported first by the training programs: what must be right before their libraries are imported."""

from .threads import end_without_threads

end_without_threads()
