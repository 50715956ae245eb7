"""Readers of input files and writers for trainers."""
