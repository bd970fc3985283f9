# The names of the package, one line per module. To add one, write it here: nothing else needs to change.
from sae_nb.sae import SAE as SAE, SAEConfig as SAEConfig, StandardSAE as StandardSAE
from sae_nb.sparse import SparseCodes as SparseCodes
from sae_nb.topk import BatchTopKSAE as BatchTopKSAE, BatchTopKSAEConfig as BatchTopKSAEConfig
from sae_nb.topk import TopKSAE as TopKSAE, TopKSAEConfig as TopKSAEConfig

__version__: str
