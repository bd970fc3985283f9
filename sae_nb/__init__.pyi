# The names of the package, by module. To add one, add it here.
from sae_nb.absorption import Absorption as Absorption, first_letter_absorption as first_letter_absorption
from sae_nb.absorption import measure_absorption as measure_absorption
from sae_nb.activations import ActivationsStore as ActivationsStore, TensorStream as TensorStream
from sae_nb.attrib import ablation_effects as ablation_effects, attribute as attribute, latent_edges as latent_edges
from sae_nb.attrib import logit_metric as logit_metric, logit_difference as logit_difference
from sae_nb.cache import ActivationCache as ActivationCache
from sae_nb.caching import cache_activations as cache_activations
from sae_nb.clt import CrossLayerTranscoder as CrossLayerTranscoder
from sae_nb.clt import CrossLayerTranscoderConfig as CrossLayerTranscoderConfig
from sae_nb.compare import Comparison as Comparison, Stability as Stability, compare_saes as compare_saes
from sae_nb.compare import dictionary_stability as dictionary_stability
from sae_nb.core import SAEConfig as SAEConfig, SAEMetadata as SAEMetadata, Schedule as Schedule
from sae_nb.core import default_device as default_device, register as register
from sae_nb.crosscoder import Crosscoder as Crosscoder, CrosscoderConfig as CrosscoderConfig
from sae_nb.documents import Documents as Documents, read_documents as read_documents
from sae_nb.evals import SeedSummary as SeedSummary, evaluate_each as evaluate_each, run_evals as run_evals
from sae_nb.export import export_sae as export_sae, sae_bench as sae_bench
from sae_nb.features import collect_features as collect_features
from sae_nb.foreign import open_cache as open_cache, read_delphi as read_delphi
from sae_nb.formats.base import Checkpoint as Checkpoint, file_format as file_format
from sae_nb.formats.files import CheckpointError as CheckpointError
from sae_nb.gated import GatedSAE as GatedSAE, GatedSAEConfig as GatedSAEConfig
from sae_nb.glu import GLUSAE as GLUSAE, GLUSAEConfig as GLUSAEConfig
from sae_nb.glu import JumpReLUGLUSAE as JumpReLUGLUSAE, JumpReLUGLUSAEConfig as JumpReLUGLUSAEConfig
from sae_nb.glu import TopKGLUSAE as TopKGLUSAE, TopKGLUSAEConfig as TopKGLUSAEConfig
from sae_nb.loading import sae_config as sae_config, sae_sparsity as sae_sparsity
from sae_nb.inputs import InputStore as InputStore, InputStream as InputStream
from sae_nb.jumprelu import JumpReLUSAE as JumpReLUSAE, JumpReLUSAEConfig as JumpReLUSAEConfig
from sae_nb.jumprelu import MatryoshkaJumpReLUSAE as MatryoshkaJumpReLUSAE
from sae_nb.jumprelu import MatryoshkaJumpReLUSAEConfig as MatryoshkaJumpReLUSAEConfig
from sae_nb.stats import FeatureStats as FeatureStats
from sae_nb.labels import read_labels as read_labels
from sae_nb.lens import LogitLens as LogitLens, token_set_enrichment as token_set_enrichment, logit_lens as logit_lens
from sae_nb.lens import token_sets as token_sets
from sae_nb.masks import TokenMask as TokenMask
from sae_nb.matryoshka import MatryoshkaBatchTopKSAE as MatryoshkaBatchTopKSAE
from sae_nb.matryoshka import MatryoshkaBatchTopKSAEConfig as MatryoshkaBatchTopKSAEConfig
from sae_nb.metrics import Difference as Difference, Metrics as Metrics, compare_metrics as compare_metrics
from sae_nb.mixture import Mixture as Mixture
from sae_nb.models import load_model as load_model
from sae_nb.neuronpedia import neuronpedia_frame as neuronpedia_frame, neuronpedia_list as neuronpedia_list
from sae_nb.neuronpedia import neuronpedia_url as neuronpedia_url
from sae_nb.plots import density_histogram as density_histogram, training_curves as training_curves
from sae_nb.pretokenize import push_tokens as push_tokens, tokenize as tokenize
from sae_nb.probing import ProbeTask as ProbeTask, Probing as Probing, generated_tasks as generated_tasks
from sae_nb.probing import source_tasks as source_tasks, sparse_probing as sparse_probing, text_task as text_task
from sae_nb.prompts import TopLatents as TopLatents, top_latents as top_latents
from sae_nb.publish import model_card as model_card, push_to_hub as push_to_hub
from sae_nb.pursuit import MatchingPursuitSAE as MatchingPursuitSAE
from sae_nb.pursuit import MatchingPursuitSAEConfig as MatchingPursuitSAEConfig
from sae_nb.record import estimate_bytes as estimate_bytes
from sae_nb.record import write_cache as write_cache
from sae_nb.releases import add_release as add_release, find_saes as find_saes, list_releases as list_releases
from sae_nb.run import train as train
from sae_nb.running import evaluation_mode as evaluation_mode, model_inputs as model_inputs, run_logits as run_logits
from sae_nb.sae import SAE as SAE
from sae_nb.search import contrast_texts as contrast_texts, max_activating_examples as max_activating_examples
from sae_nb.hooks import find_hook_point as find_hook_point, read_activations as read_activations, replace_at as replace_at
from sae_nb.hooks import hook_names as hook_names, hook_width as hook_width
from sae_nb.standard import StandardSAE as StandardSAE, StandardSAEConfig as StandardSAEConfig
from sae_nb.sparse import SparseCodes as SparseCodes
from sae_nb.splicing import ablate as ablate, add_to as add_to, scale_latents as scale_latents, set_to as set_to
from sae_nb.splicing import run_with_cache_with_saes as run_with_cache_with_saes
from sae_nb.splicing import run_with_saes as run_with_saes, splice as splice
from sae_nb.steer import steer_clamp as steer_clamp, continuations as continuations, steer_direction as steer_direction
from sae_nb.steer import steered as steered, steering_sweep as steering_sweep, frac_with_words as frac_with_words
from sae_nb.suite import Evaluations as Evaluations, evaluate_all as evaluate_all
from sae_nb.sweeps import Sweep as Sweep, read_sweep as read_sweep, sweep as sweep
from sae_nb.synth import SyntheticData as SyntheticData, synthetic_data as synthetic_data
from sae_nb.temporal import TemporalSAE as TemporalSAE, TemporalSAEConfig as TemporalSAEConfig
from sae_nb.texts import load_texts as load_texts
from sae_nb.tokens import TokenStream as TokenStream
from sae_nb.topk import AbsTopKSAE as AbsTopKSAE, AbsTopKSAEConfig as AbsTopKSAEConfig
from sae_nb.topk import BatchTopKSAE as BatchTopKSAE, BatchTopKSAEConfig as BatchTopKSAEConfig
from sae_nb.topk import GroupMaxSAE as GroupMaxSAE, GroupMaxSAEConfig as GroupMaxSAEConfig
from sae_nb.topk import TopKSAE as TopKSAE, TopKSAEConfig as TopKSAEConfig
from sae_nb.track import read_rows as read_rows
from sae_nb.config import TrainConfig as TrainConfig
from sae_nb.trainer import Trainer as Trainer
from sae_nb.training import TrainerConfig as TrainerConfig
from sae_nb.transcoder import GLUTranscoder as GLUTranscoder, GLUTranscoderConfig as GLUTranscoderConfig
from sae_nb.transcoder import JumpReLUGLUTranscoder as JumpReLUGLUTranscoder
from sae_nb.transcoder import JumpReLUGLUTranscoderConfig as JumpReLUGLUTranscoderConfig
from sae_nb.transcoder import JumpReLUSkipTranscoder as JumpReLUSkipTranscoder
from sae_nb.transcoder import JumpReLUSkipTranscoderConfig as JumpReLUSkipTranscoderConfig
from sae_nb.transcoder import JumpReLUTranscoder as JumpReLUTranscoder
from sae_nb.transcoder import JumpReLUTranscoderConfig as JumpReLUTranscoderConfig
from sae_nb.transcoder import SkipTranscoder as SkipTranscoder, SkipTranscoderConfig as SkipTranscoderConfig
from sae_nb.transcoder import TopKGLUTranscoder as TopKGLUTranscoder
from sae_nb.transcoder import TopKGLUTranscoderConfig as TopKGLUTranscoderConfig
from sae_nb.transcoder import TopKSkipTranscoder as TopKSkipTranscoder
from sae_nb.transcoder import TopKSkipTranscoderConfig as TopKSkipTranscoderConfig
from sae_nb.transcoder import TopKTranscoder as TopKTranscoder, TopKTranscoderConfig as TopKTranscoderConfig
from sae_nb.transcoder import Transcoder as Transcoder, TranscoderConfig as TranscoderConfig
from sae_nb.graph_json import read_graph_json as read_graph_json, write_graph_json as write_graph_json
from sae_nb.graphs import AttributionGraph as AttributionGraph, PrunedGraph as PrunedGraph
from sae_nb.head_edges import split_by_head as split_by_head
from sae_nb.interventions import agreement as agreement, intervene as intervene, recovery as recovery
from sae_nb.replacement import TranscoderSet as TranscoderSet, replacement_scores as replacement_scores
from sae_nb.targets import DirectionTarget as DirectionTarget, LatentTarget as LatentTarget
from sae_nb.tracing import attribution_graph as attribution_graph, graph_memory as graph_memory
from sae_nb.widgets import explore as explore

__version__: str
