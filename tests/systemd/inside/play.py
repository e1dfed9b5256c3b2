"""Plays the scene that is named."""

import sys

import company
import hangs
import life
from machine import SCENES

__all__ = ["company", "hangs", "life"]

SCENES[sys.argv[1]]()
