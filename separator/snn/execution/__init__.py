"""How layers are simulated: kernels, dense tensors, and the definition that all of them equal."""
