# The names of the package, by module. To add one, write it here and nowhere else.
from sae_nb.activations import ActivationsStore as ActivationsStore, TensorStream as TensorStream
from sae_nb.core import default_device as default_device, register as register
from sae_nb.evals import Metrics as Metrics, run_evals as run_evals
from sae_nb.features import FeatureStats as FeatureStats, features as features
from sae_nb.jumprelu import JumpReLUSAE as JumpReLUSAE, JumpReLUSAEConfig as JumpReLUSAEConfig
from sae_nb.models import load_model as load_model, run_logits as run_logits
from sae_nb.plots import density_histogram as density_histogram, training_curves as training_curves
from sae_nb.run import train as train
from sae_nb.sae import SAE as SAE, SAEConfig as SAEConfig, SAEMetadata as SAEMetadata
from sae_nb.sae import StandardSAE as StandardSAE, StandardSAEConfig as StandardSAEConfig
from sae_nb.sites import find_site as find_site, read_sites as read_sites, replace_at as replace_at
from sae_nb.sites import site_names as site_names, site_width as site_width
from sae_nb.sparse import SparseCodes as SparseCodes
from sae_nb.synth import SyntheticData as SyntheticData, synthetic_data as synthetic_data
from sae_nb.tokens import TokenStream as TokenStream, keep_mask as keep_mask, load_texts as load_texts
from sae_nb.topk import BatchTopKSAE as BatchTopKSAE, BatchTopKSAEConfig as BatchTopKSAEConfig
from sae_nb.topk import TopKSAE as TopKSAE, TopKSAEConfig as TopKSAEConfig
from sae_nb.track import read_rows as read_rows
from sae_nb.trainer import TrainConfig as TrainConfig, Trainer as Trainer

__version__: str
