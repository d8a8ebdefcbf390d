"""Fashion-MNIST: which pixels of a picture speak for a class of garment, by way of a k-sparse autoencoder."""
