"""Rules: predicates over signals and columns, read from YAML, checked up front, evaluated by batch."""
