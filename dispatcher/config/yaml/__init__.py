"""YAML as plain values that remember their lines, with environment variables filled in."""
