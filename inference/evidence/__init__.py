"""Show which voxels of a scan carried each sentence of its report."""
