"""One file per instruction a function can give."""
