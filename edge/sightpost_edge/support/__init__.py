"""One archive for a bug report: what helps to find a fault, and nothing that is a secret."""
