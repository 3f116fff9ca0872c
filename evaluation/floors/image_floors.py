"""Take the model's own reports of a blank image and of other scans; a model that ignores the scan scores the same."""

from ..benchmark.controls import shuffle_images
from .floor_material import NOTHING, FloorMaterial, FloorReports


class BlankImage:
    """The model's report of a scan that holds only air."""

    title = "blank image"
    needs = NOTHING

    def write(self, material: FloorMaterial) -> FloorReports:
        """Return the one report for every scan."""
        return FloorReports([line.prediction for line in material.blank], "the model|air of -1000 HU")


class ShuffledImages:
    """The model's reports, each given to another scan."""

    title = "shuffled images"
    needs = NOTHING

    def write(self, material: FloorMaterial) -> FloorReports:
        """Return the reports of other scans."""
        lines = shuffle_images(material.predictions, material.seed)
        return FloorReports(
            [line.prediction for line in lines], f"the model|one cycle of all scans|seed {material.seed}"
        )
