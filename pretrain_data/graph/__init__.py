"""Connected components and the similarity forest."""
