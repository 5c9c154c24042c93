"""Volumes of other formats in: NIfTI, NRRD, MetaImage."""
