"""Bytes that fit: framing, the packer, and the way back from an answer."""
