"""Time training steps of one library on random inputs; print JSON. Run by `06_training_step` and `10_growth`.

    python training_step.py '{"library": "sae_nb", "architecture": "topk", "d_in": 512, "d_sae": 8192, "batch_size": 1024,
                              "k": 32, "steps": 8, "threads": 2, "bfloat16": false}'

Each library runs the step of its own trainer: loss, gradients, clipping, optimizer, decoder norms, dead latents. For
architectures without a k, biases or thresholds are set so that about k latents are active.
"""
import json
import logging
import resource
import sys
import time
import warnings

import torch

warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)
PREFIXES = (1 / 8, 3 / 8, 1)


def active_at(asked: dict) -> float:
    "Return the value that on average k of d_sae standard normal numbers exceed"
    return 2**0.5 * torch.erfinv(torch.tensor(1 - 2 * asked["k"] / asked["d_sae"])).item()


def sae_nb(asked: dict):
    "Return the training step of sae_nb, and a function that returns L0"
    import sae_nb.architectures  # register every architecture
    from sae_nb import SAE
    from sae_nb.core import architecture
    from sae_nb.trainer import Trainer
    from sae_nb.training import TrainerConfig

    name = {"matryoshka": "matryoshka_batchtopk"}.get(asked["architecture"], asked["architecture"])
    d_sae, n = asked["d_sae"], asked["batch_size"]
    chosen = {"k": asked["k"]} if "topk" in name else {}
    if "matryoshka" in name:
        chosen["matryoshka_widths"] = [int(d_sae * part) for part in PREFIXES]
    settings = architecture(name).config_class(d_in=asked["d_in"], d_sae=d_sae, **chosen)
    cfg = TrainerConfig(tokens=n * 10_000, batch_size=n, lr=1e-9, autocast=asked["bfloat16"])
    sae = SAE.from_config(settings)
    with torch.no_grad():
        if name == "jumprelu":
            sae.threshold.fill_(active_at(asked))
        elif name == "gated":
            sae.b_gate.fill_(-active_at(asked))
        elif name == "standard":
            sae.b_enc.fill_(-active_at(asked) * sae.decoder_init_norm)
    trainer = Trainer(sae, cfg)
    return trainer.step, lambda: trainer.metrics()["metrics/l0"]


def sae_lens(asked: dict):
    "Return the training step of sae-lens"
    import sae_lens as lens
    from sae_lens.config import SAETrainerConfig
    from sae_lens.training.sae_trainer import SAETrainer

    kind = {"topk": "TopK", "batchtopk": "BatchTopK", "matryoshka": "MatryoshkaBatchTopK", "jumprelu": "JumpReLU",
            "gated": "Gated", "standard": "Standard"}[asked["architecture"]]
    chosen = {"k": asked["k"]} if "TopK" in kind else {}
    if "Matryoshka" in kind:
        chosen["matryoshka_widths"] = [int(asked["d_sae"] * part) for part in PREFIXES]
    settings = getattr(lens, f"{kind}TrainingSAEConfig")(d_in=asked["d_in"], d_sae=asked["d_sae"], **chosen)
    sae = getattr(lens, f"{kind}TrainingSAE")(settings)
    n = asked["batch_size"]
    cfg = SAETrainerConfig(total_training_samples=n * 10_000, train_batch_size_samples=n, lr=1e-9, lr_end=1e-10,
                           autocast=asked["bfloat16"])
    trainer = SAETrainer(cfg, sae, iter([]))

    def step(x):
        trainer.step(x)
        trainer.n_training_steps += 1

    return step, None


def dictionary_learning(asked: dict):
    "Return the training step of dictionary_learning"
    from dictionary_learning.trainers import batch_top_k, gdm, jumprelu, matryoshka_batch_top_k, standard, top_k

    kind = {"topk": top_k.TopKTrainer, "batchtopk": batch_top_k.BatchTopKTrainer, "jumprelu": jumprelu.JumpReluTrainer,
            "matryoshka": matryoshka_batch_top_k.MatryoshkaBatchTopKTrainer, "gated": gdm.GatedSAETrainer,
            "standard": standard.StandardTrainer}[asked["architecture"]]
    chosen = {"k": asked["k"]} if "topk" in asked["architecture"] or asked["architecture"] == "matryoshka" else {}
    if asked["architecture"] == "matryoshka":
        chosen["group_fractions"] = [high - low for low, high in zip((0, *PREFIXES), PREFIXES)]
    trainer = kind(steps=10_000, activation_dim=asked["d_in"], dict_size=asked["d_sae"], layer=0, lm_name="none",
                   lr=1e-9, device="cpu", **chosen)
    done = iter(range(1, 10_000))
    context = torch.autocast("cpu", torch.bfloat16, enabled=asked["bfloat16"])

    def step(x):
        with context:
            trainer.update(next(done), x)

    return step, None


def sparsify(asked: dict):
    "Return the calls of eai-sparsify's trainer for one batch, with its Adam"
    from sparsify import SparseCoder, SparseCoderConfig

    sae = SparseCoder(asked["d_in"], SparseCoderConfig(num_latents=asked["d_sae"], k=asked["k"]), device="cpu")
    adam = torch.optim.Adam(sae.parameters(), lr=1e-9)
    silent = torch.zeros(asked["d_sae"], dtype=torch.long)

    def step(x):
        sae.set_decoder_norm_to_unit_norm()
        out = sae(x, dead_mask=silent > 10_000_000)
        out.fvu.backward()
        fired = torch.zeros(asked["d_sae"], dtype=torch.bool)
        fired[out.latent_indices.flatten()] = True
        sae.remove_gradient_parallel_to_decoder_directions()
        torch.nn.utils.clip_grad_norm_(sae.parameters(), 1.0)
        adam.step()
        adam.zero_grad()
        silent.add_(len(x)).masked_fill_(fired, 0)

    return step, None


def main(asked: dict) -> None:
    "Time the steps and print the result"
    torch.set_num_threads(asked["threads"])
    torch.manual_seed(0)
    libraries = {kind.__name__: kind for kind in (sae_nb, sae_lens, dictionary_learning, sparsify)}
    step, l0 = libraries[asked["library"]](asked)
    x = torch.randn(asked["batch_size"], asked["d_in"])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    times = []
    for _ in range(asked["steps"]):
        start = time.perf_counter()
        step(x)
        times.append(time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(json.dumps({"seconds": times, "megabytes": peak / 1000, "l0": l0() if l0 else None}))


main(json.loads(sys.argv[1]))
