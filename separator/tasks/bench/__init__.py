"""What `separator bench` measures: time and memory, one case after the other and in sweeps."""
