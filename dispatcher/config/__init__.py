"""The configuration of a run: settings by section, units, and YAML."""
