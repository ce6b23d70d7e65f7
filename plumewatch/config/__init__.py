"""The configuration of a school: its sections, its checks, and the settings of each part."""
