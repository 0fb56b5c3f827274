"""Self-supervision: an item's vector learns from the item's own features, clicked or not (Yao et al., CIKM 2021)."""
