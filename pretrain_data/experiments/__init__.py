"""Mixture proposals, scaling-law fits, compute planning."""
