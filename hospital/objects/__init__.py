"""Write a report as DICOM objects of the study that it was made from: structured report, PDF, evidence."""
