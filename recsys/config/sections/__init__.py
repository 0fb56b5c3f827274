"""The tables of `recsys.toml`, one file each; `section` is what they are built from."""
