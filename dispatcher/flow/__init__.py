"""Tools for data between rooms: channels, the memory budget, file slices, decompression, fsync."""
