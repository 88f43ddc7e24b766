"""What a person asks for with networks for images: training, conversion, sweeps."""
