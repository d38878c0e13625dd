"""Bytes → pictures, safely; data sets; files written whole."""
