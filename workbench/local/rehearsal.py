"""How closely one service rehearses Azure: chosen when it is started, and never changed while it runs."""

from dataclasses import dataclass, field

from workbench.local.clock import Clock
from workbench.local.faults import NONE, Faults
from workbench.local.quota import QUOTAS, Quota, QuotaName


@dataclass(frozen=True)
class Rehearsal:
    """The settings of one rehearsal; as they stand here, the service is simply of use."""

    quota: QuotaName = "local"
    strict: bool = False  # a model answers only when it is deployed, as on Azure
    clock: Clock = field(default_factory=Clock)
    faults: Faults = field(default_factory=lambda: NONE)

    @property
    def limits(self) -> Quota:
        """How many jobs and files this service takes on."""
        return QUOTAS[self.quota]
