"""GPU code and its plain PyTorch truth: imports torch and triton only."""
