"""`python -m benchmarks [--gpu] [NAME ...]`: run the benchmarks and write their results."""

import argparse
from importlib import import_module

CPU = (
    "published_vae_epoch",
    "rare_vae_seeds",
    "kedro_overhead",
    "cells_out_of_core",
    "chunk_loader",
    "ldvae_nb",
    "ldvae_training",
    "ldvae_fit",
    "lookup_table",
    "gamma_poisson",
    "omics_lm_training",
    "graph_attention",
    "spatial_gvae_scale",
    "context_maps",
    "context_effects",
)
GPU = (
    "omics_lm_training",
    "omics_lm_1_7b",
    "published_vae_epoch",
    "rare_vae_seeds",
    "ldvae_nb",
    "ldvae_training",
    "graph_attention",
    "spatial_gvae_scale",
    "context_maps",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(CPU)}; all by default")
    parser.add_argument("--gpu", action="store_true", help="those that a GPU changes, on the GPU")
    arguments = parser.parse_args()
    for name in arguments.names or (GPU if arguments.gpu else CPU):
        result = import_module(f"benchmarks.{name}").run("cuda" if arguments.gpu else "cpu")
        if arguments.gpu:  # beside what the CPU took, and not in its place
            result.name = result.name.removesuffix("_cuda") + "_cuda"
        result.write()
        print(f"{name}: ratio {result.ratios} (reference over ours)")


if __name__ == "__main__":
    main()
