"""What is known of services and models before anything is asked: tables, every fact with its source.

``providers`` says where a service lives and what it wants done its own way, ``limits`` how much it takes.
``models`` says what can be trained, how, where, until when and at what price; its facts stand in TOML files.
``find`` lists what fits, ``refresh`` compares with what a service says today.
"""

from workbench.catalog.azure_prices import refresh_prices
from workbench.catalog.catalog import model, models
from workbench.catalog.citations import source
from workbench.catalog.providers import provider, provider_of, runs_here
from workbench.catalog.refresh import refresh
from workbench.catalog.search import cheapest_base, find, way_prices

__all__ = [
    "cheapest_base",
    "find",
    "model",
    "models",
    "provider",
    "provider_of",
    "refresh",
    "refresh_prices",
    "runs_here",
    "source",
    "way_prices",
]
