"""The workshop: a folder of labelled photos becomes a trained MobileNet and an honest report."""
