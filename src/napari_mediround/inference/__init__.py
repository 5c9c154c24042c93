"""One question to masks, on a device: set an image, ask, refine, propagate. Knows no file and no Qt."""
