"""Systems that separate, scored on sets of mixtures."""
