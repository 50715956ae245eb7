"""Parts of the stage ingest: what its keys mean, how input becomes rows, and how rows become documents."""
