"""The blinded reader study: cases, page, answers, Table 4."""
