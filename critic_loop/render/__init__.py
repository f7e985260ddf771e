"""A tree as text for a terminal, as an SVG picture and as an HTML page; used by the command line."""
