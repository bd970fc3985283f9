"""Train a BatchTopK SAE with sae-lens on stored activations. Run by `02_demo_quality.ipynb`.

    python sae_lens_on_activations.py '{"activations": in.safetensors, "out": folder, "d_sae": ..., "k": ..., "lr": ..., ...}'
"""
import json
import logging
import sys
import warnings

import torch
from safetensors.torch import load_file

warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)


def main(asked: dict) -> None:
    "Train and save the SAE"
    from sae_lens import BatchTopKTrainingSAE, BatchTopKTrainingSAEConfig
    from sae_lens.config import SAETrainerConfig
    from sae_lens.training.sae_trainer import SAETrainer

    torch.set_num_threads(asked["threads"])
    torch.manual_seed(asked["seed"])
    x = load_file(asked["activations"])["x"].float()
    steps, size = asked["steps"], asked["batch_size"]
    sae = BatchTopKTrainingSAE(BatchTopKTrainingSAEConfig(
        d_in=x.shape[1], d_sae=asked["d_sae"], k=asked["k"], normalize_activations="expected_average_only_in"))
    cfg = SAETrainerConfig(
        total_training_samples=steps * size, train_batch_size_samples=size, lr=asked["lr"], lr_end=asked["lr"] / 10,
        lr_warm_up_steps=steps // 20, lr_decay_steps=steps // 5, n_batches_for_norm_estimate=10)

    def batches():
        while True:
            yield from x.split(size)

    trained = SAETrainer(cfg, sae, batches()).fit()
    trained.save_inference_model(asked["out"])


main(json.loads(sys.argv[1]))
