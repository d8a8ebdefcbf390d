"""Any table or annotated matrix: which of its columns predict the one in question."""
