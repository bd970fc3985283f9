"""Write the results of SAELens for random weights of every architecture. Run once, with sae-lens 6.54.12:

    python sae_lens_reference.py ../../_data/saelens_reference.safetensors

Each case has weights, an input, latents and the reconstruction. A training class also has the loss terms of one step
and the gradients of all weights. Read by `howto/saelens.ipynb`.
"""
import json
import logging
import sys
import warnings

import torch
from safetensors.torch import save_file

warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)

D_IN = 12
D_SAE = 20
D_OUT = 10
TOKENS = 9
SIZES = {"d_in": D_IN, "d_sae": D_SAE}


def randomize(sae: torch.nn.Module, generator: torch.Generator) -> None:
    "Set random weights of a size at which some latents are active and some are not"
    with torch.no_grad():
        for name, parameter in sae.named_parameters():
            values = torch.randn(parameter.shape, generator=generator) * (0.2 if parameter.ndim == 1 else 0.35)
            parameter.copy_(values.abs() if "threshold" in name else values)
            if type(sae).__name__.startswith("MatchingPursuit") and name == "W_dec":
                parameter /= parameter.norm(dim=1, keepdim=True)


def inference(kind: str, shape: tuple[int, ...] = (TOKENS, D_IN), **options) -> dict:
    "Return weights, input, latents and reconstruction of an inference class"
    import sae_lens

    cls = getattr(sae_lens, f"{kind}SAE", None) or getattr(sae_lens, kind)
    config = getattr(sae_lens, f"{kind}SAEConfig", None) or getattr(sae_lens, f"{kind}Config")
    generator = torch.Generator().manual_seed(0)
    sae = cls(config(**SIZES, **options))
    randomize(sae, generator)
    x = torch.randn(shape, generator=generator) * 2 + 0.3
    with torch.no_grad():
        z = sae.encode(x)
        tensors = {"x": x, "z": z, "x_hat": sae(x)}
    weights = {f"weights.{name}": tensor for name, tensor in sae.state_dict().items()}
    return {"tensors": {**tensors, **weights}, "cfg": sae.cfg.to_dict()}


def training(kind: str, coefficients: dict[str, float] | None = None, with_dead: bool = False, **options) -> dict:
    "Return weights, input, outputs, losses and gradients of one step of a training class"
    import sae_lens
    from sae_lens.saes.sae import TrainStepInput

    cls, config = getattr(sae_lens, f"{kind}TrainingSAE"), getattr(sae_lens, f"{kind}TrainingSAEConfig")
    generator = torch.Generator().manual_seed(1)
    sae = cls(config(**SIZES, **options))
    randomize(sae, generator)
    x = torch.randn(TOKENS, D_IN, generator=generator) * 2 + 0.3
    dead = torch.arange(D_SAE) % 3 == 0
    weights = {f"weights.{name}": p.detach().clone() for name, p in sae.named_parameters()}
    out = sae.training_forward_pass(TrainStepInput(
        sae_in=x, coefficients=coefficients or {}, dead_neuron_mask=dead if with_dead else None, n_training_steps=0,
        is_logging_step=False))
    out.loss.backward()
    grads = {f"grads.{name}": p.grad for name, p in sae.named_parameters()}
    losses = {f"losses.{name}": value.detach() for name, value in {**out.losses, "loss": out.loss}.items()}
    tensors = {"x": x, "z": out.feature_acts.to_dense() if out.feature_acts.is_sparse else out.feature_acts,
               "x_hat": out.sae_out, "dead": dead.nonzero().squeeze(1)}
    return {"tensors": {**tensors, **weights, **grads, **losses}, "cfg": sae.cfg.to_dict()}


CASES = {
    "standard": lambda: inference("Standard"),
    "standard_layer_norm": lambda: inference("Standard", normalize_activations="layer_norm"),
    "standard_constant_norm": lambda: inference("Standard", normalize_activations="constant_norm_rescale"),
    "standard_hook_z": lambda: inference("Standard", shape=(TOKENS, 3, D_IN // 3), reshape_activations="hook_z"),
    "standard_3d": lambda: inference("Standard", shape=(3, 3, D_IN), apply_b_dec_to_input=False),
    "gated": lambda: inference("Gated"),
    "topk": lambda: inference("TopK", k=4),
    "abstopk": lambda: inference("AbsTopK", k=4),
    "jumprelu": lambda: inference("JumpReLU"),
    "matching_pursuit": lambda: inference("MatchingPursuit", max_iterations=6),
    "matching_pursuit_all": lambda: inference("MatchingPursuit", residual_threshold=1.0),
    "temporal": lambda: inference("Temporal", shape=(2, 5, D_IN), n_heads=2, bottleneck_factor=2, kval_topk=4,
                                  sae_diff_type="topk", activation_normalization_factor=0.7),
    "temporal_relu": lambda: inference("Temporal", shape=(2, 5, D_IN), n_heads=1, n_attn_layers=2, bottleneck_factor=2,
                                       sae_diff_type="relu", tied_weights=False),
    "transcoder": lambda: inference("Transcoder", d_out=D_OUT, apply_b_dec_to_input=False),
    "skip_transcoder": lambda: inference("SkipTranscoder", d_out=D_OUT, apply_b_dec_to_input=False),
    "jumprelu_transcoder": lambda: inference("JumpReLUTranscoder", d_out=D_OUT, apply_b_dec_to_input=False),
    "jumprelu_skip_transcoder": lambda: inference("JumpReLUSkipTranscoder", d_out=D_OUT, apply_b_dec_to_input=False),
    "train_standard": lambda: training("Standard", {"l1": 0.7}),
    "train_standard_l2": lambda: training("Standard", {"l1": 0.7}, lp_norm=2.0),
    "train_gated": lambda: training("Gated", {"l1": 0.7}),
    "train_topk": lambda: training("TopK", k=4, rescale_acts_by_decoder_norm=False),
    "train_abstopk": lambda: training("AbsTopK", k=4, rescale_acts_by_decoder_norm=False),
    "train_batchtopk": lambda: training("BatchTopK", k=3.5, rescale_acts_by_decoder_norm=False),
    "train_matryoshka": lambda: training("MatryoshkaBatchTopK", k=3.5, matryoshka_widths=[4, 9, D_SAE],
                                         rescale_acts_by_decoder_norm=False),
    "train_jumprelu_step": lambda: training("JumpReLU", {"l0": 0.7}, with_dead=True, jumprelu_bandwidth=0.5,
                                            pre_act_loss_coefficient=0.3),
    "train_jumprelu_tanh": lambda: training("JumpReLU", {"l0": 0.7}, jumprelu_sparsity_loss_mode="tanh",
                                            jumprelu_bandwidth=0.5),
    "train_jumprelu_quadratic": lambda: training("JumpReLU", {"l0": 0.7}, jumprelu_sparsity_loss_mode="quadratic",
                                                 target_l0=5.0, jumprelu_bandwidth=0.5, jumprelu_ste_to_input=True),
    "train_matching_pursuit": lambda: training("MatchingPursuit", max_iterations=6),
}

if __name__ == "__main__":
    tensors, configs = {}, {}
    for name, case in CASES.items():
        found = case()
        tensors |= {f"{name}/{key}": tensor.detach().contiguous().clone() for key, tensor in found["tensors"].items()}
        configs[name] = found["cfg"]
    save_file(tensors, sys.argv[1], {"configs": json.dumps(configs, default=str)})
    print(len(tensors), "tensors of", len(CASES), "cases")
