"""How Sphinx builds the documents; `scripts/docs` calls it, and a warning is an error there.

The pages are plain reStructuredText, so that they can be read in the repository, too;
`tests/integration/test_documents.py` runs what they show.
"""

from __future__ import annotations

import eventy_sync

project = "eventy_sync"
author = "the authors of eventy_sync"
release = version = eventy_sync.__version__

extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_click"]
html_theme = "furo"
html_title = f"eventy_sync {release}"
html_copy_source = False
highlight_language = "none"  # a block without a language is output, a grammar or a picture of a directory

# Docstrings put names into single backticks: a link where the name has an entry here, and its own text where not.
default_role = "py:obj"
nitpicky = True
nitpick_ignore_regex = [
    ("py:obj", r".*"),
    ("py:.*", r"(?!eventy_sync\b).*"),  # what Python and other packages have: no inventory is fetched while building
    ("py:class", r"eventy_sync\..*\.[A-Z]"),  # type variables
]

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
napoleon_custom_sections = [("Fields", "params_style")]
