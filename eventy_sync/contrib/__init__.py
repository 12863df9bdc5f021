"""Integrations.  They import the library, never the reverse; each needs the extra that has its name."""
