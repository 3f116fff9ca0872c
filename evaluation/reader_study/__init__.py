"""Run the blinded reader study: cases, web page, answers, Table 4."""
