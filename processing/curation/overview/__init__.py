"""Show a prepared data set at a glance, as the paper shows CT-3DRRG: Figure 2 and Table 1."""
