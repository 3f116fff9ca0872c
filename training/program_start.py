"""Check the environment, and quiet a library, before libraries are imported: training programs import this first."""

import logging

from .threads import end_without_threads

end_without_threads()
# It warns of kernels that only 4-bit weights on a CPU would use.
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
