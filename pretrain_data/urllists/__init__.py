"""Lists of hosts and paths that come with the package; see `rules.urls` for their form."""
