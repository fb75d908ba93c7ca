"""The wire: messages, JSON codec, configuration. No behaviour."""
