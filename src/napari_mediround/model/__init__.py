"""The paper's figure, in torch. Knows no file format of images, no viewer and no session."""
