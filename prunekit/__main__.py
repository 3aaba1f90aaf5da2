"""``python -m prunekit`` is the ``prunekit`` command."""

from prunekit.cli import app

if __name__ == "__main__":
    app(prog_name="prunekit")
