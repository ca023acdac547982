"""Questions that have nothing to do with the task: what did the model forget while it learnt?"""

from .forgetting import forgotten as forgotten
from .probes import probe as probe
from .probes import read_probes as read_probes
