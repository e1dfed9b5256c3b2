"""Where Predictions and Events go besides the store; a sink is any object with ``write``."""
