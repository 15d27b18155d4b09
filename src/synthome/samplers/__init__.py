"""Samplers that need no training: controls, moments, crossover of signatures, SMOTE, normals."""
