"""The shells of Gymnasium and PettingZoo, for every world alike."""
