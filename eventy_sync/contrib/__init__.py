"""Integrations.  They import the library and what they integrate it with; the library never imports them."""
