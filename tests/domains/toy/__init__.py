"""A small domain that holds the contract to more than expression: images and readings, votes, a mask, an encoder."""
