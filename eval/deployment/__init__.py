"""Networks outside PyTorch: ONNX, TorchScript, int8."""
