"""Settings of Sphinx, which builds these pages: `sphinx-build -W docs docs/_build`."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from jaxrec_docs.notebooks import address  # noqa: E402

import jaxrec  # noqa: E402

project = "jaxrec"
author = "The jaxrec authors"
release = version = jaxrec.__version__
extensions = ["myst_nb", "sphinx.ext.autodoc", "jaxrec_docs"]
exclude_patterns = ["_build", "jaxrec_docs"]
myst_heading_anchors = 3
nb_execution_mode = "off"  # the tests run the notebooks
autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_typehints = "signature"
python_maximum_signature_line_length = 80
html_theme = "furo"
html_title = "jaxrec"
# No link to the source of each page: most pages are generated, and lie in no repository.
html_theme_options = {
    "footer_icons": [{"name": "Repository", "url": address(), "html": "Repository", "class": ""}],
}
html_copy_source = False
pygments_style = "default"
