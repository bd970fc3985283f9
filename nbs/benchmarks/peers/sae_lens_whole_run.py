"""Train a BatchTopK SAE with sae-lens on a language model; print one line of JSON. Run by `01_whole_run.ipynb` and
`11_quality_beside_saelens.ipynb`.

    python sae_lens_whole_run.py '{"model": ..., "hook": ..., "texts": file.json, "d_in": ..., "d_sae": ..., "k": ..., "tokens": ..., ...}'

`out` is the folder for the result; `sae` and `runner` are dictionaries with further settings.
"""
import json
import logging
import sys
import tempfile
import time
import warnings

import torch

warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)


def main(asked: dict) -> None:
    "Train the SAE and print the tokens per second"
    from datasets import Dataset
    from sae_lens import (BatchTopKTrainingSAEConfig, LanguageModelSAERunnerConfig, LanguageModelSAETrainingRunner,
                          LoggingConfig)

    torch.set_num_threads(asked["threads"])
    folder = asked.get("out") or tempfile.mkdtemp()
    with open(asked["texts"], encoding="utf-8") as file:
        dataset = Dataset.from_dict({"text": json.load(file)})
    runner = LanguageModelSAETrainingRunner(
        LanguageModelSAERunnerConfig(
            sae=BatchTopKTrainingSAEConfig(d_in=asked["d_in"], d_sae=asked["d_sae"], k=asked["k"],
                                           **asked.get("sae", {})),
            model_name=asked["model"], model_class_name="AutoModelForCausalLM", hook_name=asked["hook"],
            model_from_pretrained_kwargs={"dtype": "bfloat16"}, dataset_path="none", context_size=asked["context_size"],
            training_tokens=asked["tokens"], train_batch_size_tokens=asked["batch_size"], n_batches_in_buffer=32,
            store_batch_size_prompts=16, device="cpu", logger=LoggingConfig(log_to_wandb=False), verbose=False,
            output_path=folder + "/out", checkpoint_path=folder, **asked.get("runner", {})),
        override_dataset=dataset)
    start = time.perf_counter()
    runner.run()
    print(json.dumps({"tokens_per_second": asked["tokens"] / (time.perf_counter() - start)}))


main(json.loads(sys.argv[1]))
