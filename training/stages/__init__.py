"""The stages of training, in the order of README.md."""
