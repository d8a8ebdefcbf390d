"""Bulk expression in the ARCHS4 format: which genes' expression predicts that of a target gene."""
