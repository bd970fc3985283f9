"Check what Shift-Tab and `?` show, by asking a Jupyter kernel as JupyterLab does"
from jupyter_client.manager import start_new_kernel

WANTED = {
    "TrainConfig": ["context_size : int, default 128", "Tokens per context", "Activations per step"],
    "SAE.from_pretrained": ["release : str", "a release (see `find_saes`)"],
    "run_evals": ["n_tokens : int | None, default 50_000"],
    "cfg": ["Latents kept per token, on average", "Number of latents"],
}
manager, client = start_new_kernel()
try:
    code = "from sae_nb import BatchTopKSAEConfig, SAE, TrainConfig, run_evals; cfg = BatchTopKSAEConfig(d_sae=64)"
    assert client.execute_interactive(code, timeout=120)["content"]["status"] == "ok"
    for name, texts in WANTED.items():
        content = client.inspect(name, reply=True, timeout=60)["content"]
        shown = content["data"]["text/plain"] if content["found"] else ""
        missing = [text for text in texts if text not in shown]
        assert not missing, f"{name}: {missing} not in {shown}"
finally:
    client.stop_channels()
    manager.shutdown_kernel(now=True)
