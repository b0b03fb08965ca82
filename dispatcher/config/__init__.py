"""The configuration of a run: models, units, YAML."""
