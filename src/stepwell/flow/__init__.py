"""One file per flow control: options, key, decision."""
