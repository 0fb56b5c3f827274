"""Off-policy evaluation: what another policy would have brought, from a log whose lists were drawn at random."""
