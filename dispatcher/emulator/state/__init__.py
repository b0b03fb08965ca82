"""State that survives a killed emulator."""
