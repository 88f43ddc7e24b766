"""Conversions while settings are varied, over several seeds."""
