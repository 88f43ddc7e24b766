"""How analog input reaches the first layer, and how the last one is read."""
