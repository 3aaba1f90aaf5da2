"""Where the documentation of an estimator is, for the link in its HTML representation."""

DOCUMENTATION_URL = "https://prunekit.readthedocs.io/en/stable/"
"""The site that ``docs/`` is built into; the same as in ``pyproject.toml``."""


class DocumentedMixin:
    """Link the HTML representation of an estimator that ``prunekit`` itself exports to its page."""

    _doc_link_module = "prunekit"
    _doc_link_template = DOCUMENTATION_URL + "api/generated/{name}.html"

    def _doc_link_url_param_generator(self) -> dict[str, str]:
        return {"name": f"prunekit.{type(self).__name__}"}
