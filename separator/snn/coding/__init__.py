"""Codings in which analog input reaches the first layer, and readouts of the last one."""
