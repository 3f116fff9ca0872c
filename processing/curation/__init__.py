"""From the downloads to CT-3DRRG: rules, judges, splits, the prepared folder, its card, publishing."""
