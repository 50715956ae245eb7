"""A local page to look into a workspace: search, a document's way, clusters side by side, rules tried live."""
