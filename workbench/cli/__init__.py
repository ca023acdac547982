"""The commands of ``python -m workbench``, by subject; each is a few lines over the package."""
