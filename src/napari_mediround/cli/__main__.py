"""`python -m napari_mediround.cli` is `mediround`."""

from napari_mediround.cli import main

main()
