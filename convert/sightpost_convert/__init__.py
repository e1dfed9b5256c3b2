"""The converter: a trained run becomes quantized candidates, a judgement and one sealed Bundle."""
