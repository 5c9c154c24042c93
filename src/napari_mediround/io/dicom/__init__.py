"""DICOM in: series, instances, frames, codes."""
