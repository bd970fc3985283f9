"""Evaluate the demo SAE with sae-lens 6.54.12 on 40 sequences of the demo text; `510_evals` compares the results.

    python sae_lens_evals.py write FOLDER                              # in an environment with sae_nb
    python sae_lens_evals.py run FOLDER ../../_data/saelens_evals.json # in one with sae-lens 6 and transformer-lens 3
"""
import json
import shutil
import sys
from pathlib import Path

import torch


def write(folder: Path) -> None:
    "Write the model, the SAE and the tokens to files"
    from sae_nb import SAE, TokenStream, load_model
    from sae_nb.core import assets

    model = load_model("demo", device="cpu", bridge=False)
    stream = TokenStream("demo", model.tokenizer, context_size=128, batch_size=400, split="test", epochs=1, separator=None)
    tokens = next(stream)
    shutil.copytree(assets() / "demo", folder / "model", dirs_exist_ok=True)
    SAE.from_pretrained("demo", dtype="float32").save_model(folder / "sae")
    torch.save(tokens[(tokens[:, 1:] != 0).all(1)][:40], folder / "tokens.pt")


def hooked_model(folder: Path) -> "object":
    "Load the demo model as a HookedTransformer without processing"
    from sae_lens import HookedSAETransformer
    from transformer_lens import HookedTransformerConfig
    from transformer_lens.pretrained.weight_conversions import convert_gpt2_weights
    from transformers import AutoTokenizer, GPT2LMHeadModel

    plain = GPT2LMHeadModel.from_pretrained(folder, dtype=torch.float32).eval()
    c = plain.config
    cfg = HookedTransformerConfig(
        n_layers=c.n_layer, d_model=c.n_embd, n_ctx=c.n_positions, d_head=c.n_embd // c.n_head, n_heads=c.n_head,
        d_mlp=4 * c.n_embd, d_vocab=c.vocab_size, act_fn="gelu_new", normalization_type="LN", eps=c.layer_norm_epsilon,
        device="cpu", default_prepend_bos=True)
    model = HookedSAETransformer(cfg)
    model.load_state_dict(convert_gpt2_weights(plain, cfg), strict=False)
    model.set_tokenizer(AutoTokenizer.from_pretrained(folder), default_padding_side="right")
    return model


def run(folder: Path, out: Path) -> None:
    "Run sae-lens' `run_evals` on these files"
    from datasets import Dataset
    from sae_lens import SAE, ActivationsStore
    from sae_lens.evals import EvalConfig, run_evals
    from sae_lens.training.activation_scaler import ActivationScaler

    tokens, model = torch.load(folder / "tokens.pt"), hooked_model(folder / "model")
    sae = SAE.load_from_disk(str(folder / "sae"), device="cpu")
    store = ActivationsStore.from_sae(model=model, sae=sae, dataset=Dataset.from_dict({"tokens": tokens.tolist()}),
                                      streaming=False, store_batch_size_prompts=4, context_size=tokens.shape[1],
                                      device="cpu", n_batches_in_buffer=8, train_batch_size_tokens=64)
    n = len(tokens) // 4
    everything = EvalConfig(
        batch_size_prompts=4, n_eval_reconstruction_batches=n, n_eval_sparsity_variance_batches=n, compute_kl=True,
        compute_ce_loss=True, compute_l2_norms=True, compute_sparsity_metrics=True, compute_variance_metrics=True,
        compute_featurewise_density_statistics=True)
    groups, latents = run_evals(sae, store, model, ActivationScaler(), everything, exclude_special_tokens=[0])
    found = {name: value for group in groups.values() for name, value in group.items()}
    density = torch.tensor(latents["feature_density"])
    found |= {"frac_dead": (density == 0).double().mean().item(), "density_of_first_64": density[:64].tolist()}
    out.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    {"write": write, "run": run}[sys.argv[1]](*map(Path, sys.argv[2:]))
