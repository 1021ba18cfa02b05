"""A running sweep in a browser on this machine: `python -m experiments serve DIR`.

`state` reads what grows, `page` draws it, `server` answers. The standard library's server is used:
one reader on one machine asks for a handful of known addresses, which no framework makes simpler.
RULE of this room: it answers 127.0.0.1 only, from a fixed table of addresses, and changes no run.
"""
