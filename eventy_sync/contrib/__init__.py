"""Integrations.  They import the library and what they integrate it with, never the reverse; each needs its extra."""
