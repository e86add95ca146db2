"""From a model to a binary one and back: choosing layers, binarize, attach, harden."""
