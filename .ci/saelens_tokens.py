"""Check that SAELens trains on what `tokenize` wrote, and that its own tokens are read here: both from a hub on 127.0.0.1 and
from a folder, in an environment that has both"""
import os
import shutil
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "nbs" / "_tools"))
from hub_server import Hub

hub = Hub().__enter__()
home = tempfile.TemporaryDirectory()
os.environ |= {"HF_ENDPOINT": hub.url, "HF_HOME": home.name, "HF_TOKEN": hub.token, "HF_HUB_DISABLE_XET": "1",
               "NO_PROXY": "127.0.0.1,localhost", "HF_HUB_OFFLINE": "0", "HF_DATASETS_OFFLINE": "0"}

import sae_lens
import torch
from datasets import Dataset, load_from_disk
from sae_lens.analysis.sae_transformer_bridge import SAETransformerBridge
from sae_lens.training.activations_store import ActivationsStore
from transformers import AutoTokenizer

from sae_nb.core import assets
from sae_nb.pretokenize import push_tokens, tokenize
from sae_nb.texts import load_texts
from sae_nb.tokens import TokenStream

work = Path(home.name)
shutil.copytree(assets() / "demo", work / "demo")
hub.add("lab/demo", work / "demo")
tokenizer = AutoTokenizer.from_pretrained("lab/demo")
texts = [row["text"] for row in load_texts("demo", "test").rows][:200]
made = tokenize(texts, tokenizer, work / "ours", context_size=32)
push_tokens(work / "ours", "me/ours")


def config(**changed: object) -> sae_lens.LanguageModelSAERunnerConfig:
    "Return the settings of a short run of SAELens"
    usual = dict(  # noqa: C408
        sae=sae_lens.TopKTrainingSAEConfig(d_in=192, d_sae=256, k=8), model_name="lab/demo", dataset_path="me/ours",
        hook_name="blocks.1.hook_out", context_size=32, training_tokens=8192, train_batch_size_tokens=512, lr=1e-3,
        n_batches_in_buffer=64, store_batch_size_prompts=8, is_dataset_tokenized=True, streaming=False, device="cpu",
        logger=sae_lens.LoggingConfig(log_to_wandb=False), output_path=None, checkpoint_path=None, n_checkpoints=0,
        autocast=False, dataset_trust_remote_code=False)
    return sae_lens.LanguageModelSAERunnerConfig(**{**usual, **changed})


model = SAETransformerBridge.boot_transformers("lab/demo", device="cpu")
for data in (None, load_from_disk(str(work / "ours"))):
    sae = sae_lens.LanguageModelSAETrainingRunner(config(), override_dataset=data, override_model=model).run()
    assert sae.W_dec.isfinite().all()
store = ActivationsStore.from_config(model, config())
read_there = torch.cat([store.get_batch_tokens(8) for _ in range(3)])
assert torch.equal(read_there.cpu(), torch.tensor(made[:24]["input_ids"])), "SAELens reads other contexts"
try:
    ActivationsStore.from_config(model, config(context_size=64))
    raise AssertionError("SAELens takes contexts that are too short")
except ValueError as error:
    assert "context" in str(error), error

Dataset.from_dict({"text": texts}).push_to_hub("me/texts")
with_bos = {"begin_batch_token": "bos", "sequence_separator_token": "bos"}
without = {"begin_batch_token": None, "sequence_separator_token": None}
for name, tokens in (("bos", with_bos), ("none", without)):
    theirs = sae_lens.PretokenizeRunner(sae_lens.PretokenizeRunnerConfig(
        tokenizer_name="lab/demo", dataset_path="me/texts", context_size=32, num_proc=1, streaming=False, shuffle=False,
        save_path=str(work / name), hf_repo_id=f"me/{name}", hf_num_shards=1, **tokens)).run()
    for place in (work / name, f"me/{name}"):
        def read(context_size: int = 32, prepend_bos: bool = name == "bos", source: object = place) -> torch.Tensor:
            "Return the first contexts"
            return next(TokenStream(source, tokenizer, context_size, 8, prepend_bos, split="all", shuffle=False))
        assert torch.equal(read(), torch.as_tensor(theirs[:8]["input_ids"])), f"{place}: other contexts"
        for wrong in ({"context_size": 64}, {"prepend_bos": name != "bos"}):
            try:
                read(**wrong)
                raise AssertionError(f"{place}: {wrong} is accepted")
            except ValueError as error:
                assert "sae_lens.json" in str(error), error
hub.__exit__()
print("tokens are read in both directions")
