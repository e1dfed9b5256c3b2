"""Where Predictions go besides the store; a sink is any object with ``write(prediction)``."""
