"""Variational inference over binary weights, for any loss."""
