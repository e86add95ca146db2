"""Binary weights after training: signs and scales that change a layer's outputs least, and how good any can be."""
