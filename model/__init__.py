"""The encoder, its heads and their weights as plain modules; imports kernels only."""
