"""Read and preprocess CT, build the CT-3DRRG data set. Importing registers them with Auto classes and `datasets`."""

from transformers import AutoImageProcessor, AutoProcessor

from modeling_argus import ArgusConfig

from .ct3drrg import register as register_ct3drrg
from .ct_volume import CTReadError, CTVolume
from .image_processing_argus import ArgusImageProcessor
from .processing_argus import ArgusProcessor
from .read_ct import read_ct
from .saved_models.missing_models import tell_of_missing_presets

AutoImageProcessor.register(ArgusConfig, image_processor_classes={"pil": ArgusImageProcessor}, exist_ok=True)
AutoProcessor.register(ArgusConfig, ArgusProcessor, exist_ok=True)
register_ct3drrg()
tell_of_missing_presets()

__all__ = ["ArgusImageProcessor", "ArgusProcessor", "CTReadError", "CTVolume", "read_ct"]
