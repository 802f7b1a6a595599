"""The network outside PyTorch: ONNX, TorchScript, int8."""
