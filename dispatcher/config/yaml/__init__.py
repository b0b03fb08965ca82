"""Read YAML into plain values with their lines, and fill in environment variables."""
