"""How sphinx builds the documentation; `python docs/build.py OUT` builds and checks it."""

import re
import sys
from pathlib import Path

import matplotlib as mpl

DOCS = Path(__file__).parent
ROOT = DOCS.parent
EXAMPLES = ROOT / "examples"

# The checkout is documented, also where another copy is installed; examples import `_networks` from beside them.
sys.path[:0] = [str(ROOT), str(EXAMPLES), str(DOCS / "_ext")]
mpl.use("Agg")

import prunekit  # noqa: E402

project = "prunekit"
author = "The prunekit developers"
copyright = author
release = version = prunekit.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "myst_parser",
    "local_math",
    "local_references",
]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
exclude_patterns = ["_build", "_ext", "_templates", "**/*.py.md5", "**/*.codeobj.json"]
templates_path = ["_templates"]
nitpicky = True
# Other packages have their own sites, and nothing is fetched from these.
nitpick_ignore_regex = [("py:.*", r"(sklearn|skorch|torch|pandas|numpy|matplotlib|joblib)\..*")]

# A source tree may come without the gallery's header; then there is no gallery, and the rest is built.
HAS_GALLERY = (EXAMPLES / "README.rst").is_file()
suppress_warnings = [
    "config.cache",  # the gallery's settings hold objects that sphinx does not keep between builds
    "ref.footnote",
]
if HAS_GALLERY:
    extensions.append("sphinx_gallery.gen_gallery")
else:
    suppress_warnings.append("toc.not_readable")


def examples_with(name: str) -> list[str]:
    """Return the first examples that use a name, as the gallery's directive wants them."""
    scripts = sorted(EXAMPLES.glob("[0-9][0-9]_*.py")) if HAS_GALLERY else []
    word = re.compile(rf"\b{name}\b")
    return [f"../examples/{script.name}" for script in scripts if word.search(script.read_text(encoding="utf-8"))][:4]


# ---------------------------------------------------------------- guide

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath", "fieldlist"]
myst_heading_anchors = 3

# ---------------------------------------------------------------- reference

default_role = "name"
smartquotes = False  # quotes are Python's
toc_object_entries_show_parents = "hide"
autosummary_generate = True
autosummary_imported_members = True
autosummary_ignore_module_all = False
autodoc_typehints = "none"
autodoc_member_order = "groupwise"
autodoc_class_signature = "mixed"
autosummary_context = {
    "top_level": set(prunekit.__all__),  # has pages of its own, in whatever module it is as well
    "shown_in": {name: examples_with(name) for name in prunekit.__all__},
}
numpydoc_show_class_members = False
numpydoc_xref_param_type = False

# ---------------------------------------------------------------- gallery

sphinx_gallery_conf = {
    "examples_dirs": [str(EXAMPLES)],
    "gallery_dirs": ["auto_examples"],
    "filename_pattern": r"[\\/]\d\d_[^\\/]*\.py$",
    "ignore_pattern": r"(^|[\\/])(?!\d\d_)[^\\/]*\.py$",
    "within_subsection_order": "FileNameSortKey",
    "abort_on_example_error": True,
    "reset_modules": ("matplotlib",),
    "backreferences_dir": "api/backreferences",
    "doc_module": ("prunekit",),
    "download_all_examples": False,
    "show_signature": False,
    "show_memory": False,
    "write_computation_times": False,  # its page loads scripts from other hosts
    "min_reported_time": 1,
}

# ---------------------------------------------------------------- pages

html_theme = "pydata_sphinx_theme"
html_title = f"prunekit {release}"
html_math_renderer = "mathml"
html_static_path = ["_static"]
html_css_files = ["prunekit.css"]
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "show_nav_level": 1,
    "navigation_with_keys": False,
    "show_prev_next": True,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "navbar_end": ["theme-switcher"],
}
html_sidebars = {"index": []}
html_context = {"default_mode": "auto"}
