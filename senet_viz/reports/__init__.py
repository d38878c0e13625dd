"""Sections, scripts, HTML and GIF; what the papers published."""
