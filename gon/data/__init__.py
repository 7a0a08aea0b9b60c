"""Data sets: from published files to arrays of 32 x 32 pixels."""
