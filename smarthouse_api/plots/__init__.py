"""Plots: numbers to SVG, as text. Their colours, fonts and sizes are the page's style sheet's."""
