"""Check the environment and quiet libraries before they are imported: training programs import this first."""

import logging
import warnings

from .threads import end_without_threads

end_without_threads()
# It warns of kernels that only 4-bit weights on a CPU would use.
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
# The recipes' and TRL's name of this setting is the one that every supported version of transformers knows.
warnings.filterwarnings("ignore", message="`gradient_checkpointing` is deprecated", category=FutureWarning)
