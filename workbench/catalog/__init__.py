"""What is known of services and models before anything is asked: tables, every fact with its source.

``providers`` says where a service lives and what it wants done its own way, ``limits`` how much it takes.
``models`` says what can
be trained, how, where, until when and at what price; its facts stand in TOML files. ``find`` lists what
fits, ``refresh`` compares with what a service says today.
"""

from workbench.catalog.azure_prices import refresh_prices as refresh_prices
from workbench.catalog.catalog import Catalogue as Catalogue
from workbench.catalog.catalog import cheapest_base as cheapest_base
from workbench.catalog.catalog import find as find
from workbench.catalog.catalog import model as model
from workbench.catalog.catalog import models as models
from workbench.catalog.catalog import offerings as offerings
from workbench.catalog.catalog import source as source
from workbench.catalog.catalog import way_prices as way_prices
from workbench.catalog.limits import Limits as Limits
from workbench.catalog.models import Conflict as Conflict
from workbench.catalog.models import Life as Life
from workbench.catalog.models import Model as Model
from workbench.catalog.models import Price as Price
from workbench.catalog.models import Regions as Regions
from workbench.catalog.models import Remark as Remark
from workbench.catalog.models import Source as Source
from workbench.catalog.providers import PROVIDERS as PROVIDERS
from workbench.catalog.providers import Provider as Provider
from workbench.catalog.providers import default_model as default_model
from workbench.catalog.providers import provider as provider
from workbench.catalog.providers import provider_of as provider_of
from workbench.catalog.providers import runs_here as runs_here
from workbench.catalog.refresh import Changes as Changes
from workbench.catalog.refresh import refresh as refresh

__all__ = [
    "PROVIDERS",
    "Catalogue",
    "Changes",
    "Conflict",
    "Life",
    "Limits",
    "Model",
    "Price",
    "Provider",
    "Regions",
    "Remark",
    "Source",
    "cheapest_base",
    "default_model",
    "find",
    "model",
    "models",
    "offerings",
    "provider",
    "provider_of",
    "refresh",
    "refresh_prices",
    "runs_here",
    "source",
    "way_prices",
]
