"""Models behind an emulated endpoint."""
