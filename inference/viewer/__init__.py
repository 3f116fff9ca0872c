"""Show a scan with its report: a page of this machine, and in a notebook."""
