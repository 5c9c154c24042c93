"""The napari dock. The only code that knows Qt and napari; the model is imported on the worker."""
