"""Above one run: several runs compared, searched for the best settings, folded, or swept for a learning rate."""
