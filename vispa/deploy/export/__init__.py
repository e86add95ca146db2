"""Binary models in the formats of other engines: GGUF for llama.cpp, ONNX for its runtimes."""
