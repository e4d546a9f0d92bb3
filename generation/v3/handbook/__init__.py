"""The documentation inside the product, below /docs/; what can be derived from the code is, so that it stays true."""
