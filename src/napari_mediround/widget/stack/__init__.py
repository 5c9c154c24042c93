"""What a dock does with structures in the stack: the run, its bar, the ribbon, what a card says."""
