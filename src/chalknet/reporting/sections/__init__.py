"""The chapters of a document, one file each: `Gathered` in, a `Section` out."""
