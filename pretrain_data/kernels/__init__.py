"""Pure functions over Arrow arrays and NumPy: no Spark, no files, no config objects in here."""
