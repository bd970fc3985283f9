"Check that SAELens reads SAEs saved here, and that its stored activations are read here, in an environment with both"
import tempfile

import sae_lens
import torch
from datasets import Dataset

import sae_nb

sae = sae_nb.SAE.from_pretrained("demo", dtype="float32")
x = torch.randn(64, sae.cfg.d_in, generator=torch.Generator().manual_seed(0)) * 8
with tempfile.TemporaryDirectory() as folder, torch.no_grad():
    sae.save_model(folder)
    there = sae_lens.SAE.load_from_disk(folder)
    torch.testing.assert_close(there.encode(x), sae.encode(x), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(there(x), sae(x), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(sae_nb.SAE.load_from_disk(folder)(x), sae(x))
assert (sae.encode(x) > 0).any(), "no latent fires"

model, hook = sae_nb.load_model("demo", dtype="float32", bridge=False), "transformer.h.1"
with tempfile.TemporaryDirectory() as folder, torch.no_grad():
    settings = sae_lens.CacheActivationsRunnerConfig(
        dataset_path="in memory", model_name=str(sae_nb.core.assets() / "demo"), hook_name=hook, d_in=sae.cfg.d_in,
        model_class_name="AutoModelForCausalLM", model_from_pretrained_kwargs={"dtype": torch.float32},
        context_size=64, model_batch_size=4, training_tokens=4096, buffer_size_gb=0.0008, shuffle=False,
        streaming=False, new_cached_activations_path=f"{folder}/cache", device="cpu")
    texts = Dataset.from_dict({"text": ["In the beginning God created the heaven and the earth. " * 40] * 40})
    sae_lens.CacheActivationsRunner(settings, override_dataset=texts).run()
    cache = sae_nb.open_cache(f"{folder}/cache")
    assert (cache.n_rows, cache.tokens.shape) == (4096, (64, 64)), cache
    stored = cache.contexts(hook, range(8))
    live = sae_nb.ActivationsStore(model, list(cache.tokens), hook, batch_size=64).get_activations(cache.tokens[:8])
    torch.testing.assert_close(stored, live, atol=1e-4, rtol=1e-4)

missing = [name for name in sae_lens.__all__ if name not in sae_nb.__all__ and not sae_nb.core.elsewhere(name)]
assert not missing, f"names of SAELens that sae_nb/assets/other_names.json does not explain: {missing}"
