"""Sweeps over one setting at a time, and comparisons of systems: what is measured, its record, tables and pictures."""
