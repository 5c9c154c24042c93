"""What napari finds in the manifest: reader, writer, sample."""
