"""Ask a PACS for studies over DICOMweb, report on them once, and store the reports there."""
