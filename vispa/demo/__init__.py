"""The main job on embedded data: `python -m vispa.demo`."""
