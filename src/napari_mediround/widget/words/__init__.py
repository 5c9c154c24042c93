"""What a dock does with words: the question being typed, what it was read as, commands in the viewer."""
