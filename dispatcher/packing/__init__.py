"""Bytes that fit: framing, encodings, the packer, and the split of a response into outputs."""
