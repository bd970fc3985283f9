"Check that an SAE saved here gives the same latents in SAELens, in an environment that has both"
import tempfile

import sae_lens
import torch

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

missing = [name for name in sae_lens.__all__ if name not in sae_nb.__all__ and not sae_nb.core.elsewhere(name)]
assert not missing, f"names of SAELens that sae_nb/assets/other_names.json does not explain: {missing}"
