"""What a request costs: its tokens at the prices of the catalogue.

``None`` where a price or a count is not known: a cost is looked up, never guessed.
"""

from workbench import catalog
from workbench.catalog.models import base_name
from workbench.errors import SetupError
from workbench.evaluation.evaluation import Evaluation

MILLION = 1_000_000  # prices are per million tokens


def cost_per_request(evaluation: Evaluation, service: str | None) -> float | None:
    """US dollars for one question and its answer, on average, at this service (``azure``); 0 on this machine.

    It is known if the catalogue has a price for every kind of token that was used. On Azure one asks a
    deployment, whose name need not tell its model: then nothing is known.
    """
    if service == "local":
        return 0.0
    if service is None or not evaluation.prompt_tokens:  # no service reads a prompt of no tokens
        return None
    name, cached = evaluation.model, evaluation.cached_tokens
    try:
        prices = catalog.way_prices(name, service=service, tuned=base_name(name) != name)
    except SetupError:  # nobody has told us a price
        return None
    if cached and "cached_price" not in prices:
        return None
    read = (evaluation.prompt_tokens - cached) * prices["input_price"]
    read_again = cached * prices.get("cached_price", 0.0)
    return (read + read_again + evaluation.completion_tokens * prices["output_price"]) / MILLION
