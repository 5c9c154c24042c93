"""Data that travels with the package: presets, names, windows, weights, the sample. No code."""
