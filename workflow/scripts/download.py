"""Downloads one raw file, resumed where an earlier try broke off.

Its SHA-256 is checked before it gets its name.
"""

from consilience.jobs import job

from pathlib import Path

from consilience.download import download

if "snakemake" in globals():
    with job(snakemake) as log:
        path = Path(snakemake.output[0])
        url, checksum = snakemake.resources.url, snakemake.params.sha256
        download(url, checksum, path)
        log.info("%s: %d bytes", path.name, path.stat().st_size)
