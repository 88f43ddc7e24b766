"""Measures of how well talkers are separated, their intervals, and tables of them."""
