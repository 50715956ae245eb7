"""Word lists and phrase lists as data, one topic and language a file, each with its origin."""
