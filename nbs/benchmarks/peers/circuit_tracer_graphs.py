"""Graphs and interventions of circuit-tracer on small random models: the reference of `nbs/696_tracing.ipynb`

    python circuit_tracer_graphs.py WEIGHTS.safetensors OUT.safetensors

Runs in an environment of its own: circuit-tracer 0.5.0, torch 2.13, transformers 4.57.3, transformer-lens 3.2.1.
WEIGHTS has the weights of models and transcoders under `CASE/model.` and `CASE/set.`; OUT gets these and the results.
"""
import sys

import torch
import transformers
from circuit_tracer import attribute
from circuit_tracer.graph import compute_graph_scores, prune_graph
from circuit_tracer.replacement_model.replacement_model_transformerlens import TransformerLensReplacementModel
from circuit_tracer.transcoder.activation_functions import TopK
from circuit_tracer.transcoder.cross_layer_transcoder import CrossLayerTranscoder
from circuit_tracer.transcoder.single_layer_transcoder import SingleLayerTranscoder, TranscoderSet
from safetensors.torch import load_file, save_file
from transformer_lens import HookedTransformerConfig
from transformer_lens.pretrained import weight_conversions

torch.set_default_dtype(torch.float64)
prompt = torch.tensor([3, 17, 5, 29])
places = {"gpt2": ("ln2.hook_normalized", "hook_mlp_out"), "llama": ("mlp.hook_in", "mlp.hook_out"),
          "gemma2": ("hook_resid_mid", "hook_mlp_out")}
shape = dict(vocab_size=40, hidden_size=16, intermediate_size=32, num_hidden_layers=3, num_attention_heads=2,
             num_key_value_heads=1, bos_token_id=3, eos_token_id=3)
configs = {
    "gpt2": transformers.GPT2Config(vocab_size=40, n_embd=16, n_layer=3, n_head=2, n_positions=32, bos_token_id=3, eos_token_id=3),
    "llama": transformers.LlamaConfig(**shape, rms_norm_eps=1e-5),
    "gemma2": transformers.Gemma2Config(**shape, head_dim=8, query_pre_attn_scalar=8, pad_token_id=3,
                                        final_logit_softcapping=4., attn_logit_softcapping=50.),
}
base = dict(n_layers=3, d_model=16, n_ctx=32, d_head=8, n_heads=2, d_vocab=40, dtype=torch.float64, device="cpu",
            default_prepend_bos=False)
rotary = dict(d_mlp=32, normalization_type="RMS", positional_embedding_type="rotary", rotary_dim=8, n_key_value_heads=1,
              rotary_adjacent_pairs=False, gated_mlp=True, final_rms=True)
lens = {
    "gpt2": dict(d_mlp=64, act_fn="gelu_new", normalization_type="LN", eps=1e-5, original_architecture="GPT2LMHeadModel"),
    "llama": dict(**rotary, act_fn="silu", eps=1e-5, original_architecture="LlamaForCausalLM"),
    "gemma2": dict(**rotary, act_fn="gelu_pytorch_tanh", eps=1e-6, use_normalization_before_and_after=True,
                   attn_scores_soft_cap=50., output_logits_soft_cap=4., use_attn_scale=True, attn_scale=8 ** .5,
                   attn_types=["global"] * 3, original_architecture="Gemma2ForCausalLM"),
}


class Tokenizer:
    "The little that circuit-tracer asks of a tokenizer"
    padding_side = "right"
    all_special_ids = [3]
    vocab_size = 40
    bos_token_id = pad_token_id = eos_token_id = 3

    def decode(self, ids):
        return str(ids)


def transcoders(kind, name, t):
    "Return transcoders of a kind"
    options = dict(dtype=torch.float64)
    if kind == "clt":
        clt = CrossLayerTranscoder(3, 20, 16, "relu", lazy_decoder=False, feature_input_hook=places[name][0],
                                   feature_output_hook=places[name][1], scan="x", **options)
        with torch.no_grad():
            clt.W_enc.copy_(t["0.encoder"].view(3, 20, 16))
            clt.b_enc.copy_(t["0.b_enc"].view(3, 20))
            clt.b_dec.copy_(t["0.b_dec"].view(3, 16))
            for i in range(3):
                clt.W_dec[i].copy_(t[f"0.W_dec_{i}"])
        return clt
    parts = {}
    for i in range(3):
        rule = TopK(15) if kind == "topk" else torch.relu
        parts[i] = SingleLayerTranscoder(16, 20, rule, i, skip_connection=kind == "skip", **options)
        with torch.no_grad():
            for theirs, ours in (("W_enc", "encoder"), ("W_dec", "W_dec"), ("b_enc", "b_enc"), ("b_dec", "b_dec"), ("W_skip", "W_skip")):
                if f"{i}.{ours}" in t:
                    getattr(parts[i], theirs).copy_(t[f"{i}.{ours}"])
    return TranscoderSet(parts, *places[name], scan="x")


def load(name, weights, found):
    "Return a replacement model with given weights"
    plain = transformers.AutoModelForCausalLM.from_config(configs[name]).double()
    plain.load_state_dict(weights, strict=False)
    plain.tie_weights()
    cfg = HookedTransformerConfig(**base, **lens[name], model_name=name)
    convert = getattr(weight_conversions, f"convert_{name.rstrip('2') if name == 'gemma2' else name}_weights")
    renamed = {key.replace(".mlp.", ".mlp.old_mlp.").replace("unembed.", "unembed.old_unembed."): value.double()
               for key, value in convert(plain, cfg).items()}
    model = TransformerLensReplacementModel.from_config(cfg, found)
    model.load_state_dict(renamed, strict=False)
    model.unembed.old_unembed.b_U.data.zero_()
    model.tokenizer = Tokenizer()
    return model


def results(model):
    "Return graph, scores, masks and interventions"
    graph = attribute(prompt, model, batch_size=16)
    found = {"adjacency": graph.adjacency_matrix, "latents": graph.active_features, "activations": graph.activation_values,
             "tokens": torch.tensor([target.vocab_idx for target in graph.logit_targets]),
             "probabilities": graph.logit_probabilities, "scores": torch.tensor(compute_graph_scores(graph))}
    for i, thresholds in enumerate(((.8, .98), (.5, .9))):
        nodes, edges, cumulative = prune_graph(graph, *thresholds)
        found |= {f"nodes.{i}": nodes, f"edges.{i}": edges.nonzero().int(), f"cumulative.{i}": cumulative}
    found["visited"] = attribute(prompt, model, batch_size=4, max_feature_nodes=20).selected_features
    modes = dict(constrained_layers=range(3)), dict(constrained_layers=range(2)), {}, dict(freeze_attention=False)
    changes = [(*graph.active_features[i].tolist(), -1. + i) for i in (1, 10, 30)]
    for i, mode in enumerate(modes):
        logits, latents = model.feature_intervention(prompt, changes, apply_activation_function=False, **mode)
        found |= {f"logits.{i}": logits.squeeze(0), f"changed.{i}": latents}
    return found


def main(source, target):
    "Write the results of all cases"
    tensors = load_file(source)
    written = {key: value.float() for key, value in tensors.items()}
    for case in sorted({key.split("/")[0] for key in tensors}):
        name, kind = case.split("-")
        def part(prefix):
            return {key.removeprefix(f"{case}/{prefix}."): value.double() for key, value in tensors.items()
                    if key.startswith(f"{case}/{prefix}.")}
        model = load(name, part("model"), transcoders(kind, name, part("set")))
        for key, value in results(model).items():
            value = value.detach().contiguous().clone()
            written[f"{case}/{key}"] = value.float() if value.is_floating_point() else value
    save_file(written, target)


if __name__ == "__main__":
    main(*sys.argv[1:])
