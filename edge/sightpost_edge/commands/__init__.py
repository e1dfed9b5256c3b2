"""The device's commands; heavy libraries are imported inside functions, so ``--help`` is fast."""
