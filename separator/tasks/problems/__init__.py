"""Problems to learn: networks, batches, losses and measures of speech and of pictures, behind one protocol."""
