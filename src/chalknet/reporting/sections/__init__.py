"""The chapters of a document, one file each: `ReportData` in, a `Section` out."""
