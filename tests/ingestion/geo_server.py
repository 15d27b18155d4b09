"""A small GEO on this machine: files in its format, at its addresses, and its bad days."""

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pandas as pd


@dataclass
class GEOServer:
    """Files by path; what to do wrong, by path; which paths were asked for."""

    url: str
    files: dict[str, bytes] = field(default_factory=dict)
    cut: dict[str, int] = field(default_factory=dict)  # bytes after which the line drops
    refusals: dict[str, list[int]] = field(default_factory=dict)  # status of the next answers
    labelled: set[str] = field(default_factory=set)  # sent as an encoding to who accepts one
    asked: list[str] = field(default_factory=list)

    def series(self, accession: str, kind: str, name: str, content: bytes) -> str:
        """Put a file of a series where GEO has it; return its path."""
        path = f"/series/{accession[:-3]}nnn/{accession}/{kind}/{name}"
        self.files[path] = content
        return path

    def platform(self, accession: str, content: bytes) -> str:
        """Put the annotation of a platform where GEO has it."""
        path = f"/platforms/{accession[:-3]}nnn/{accession}/annot/{accession}.annot.gz"
        self.files[path] = content
        return path


@contextmanager
def geo_server() -> Iterator[GEOServer]:
    """Serve on a free port of this machine until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            geo.asked.append(self.path)
            waiting = geo.refusals.get(self.path)
            status = waiting.pop(0) if waiting else 200 if self.path in geo.files else 404
            if status != 200:
                self.send_error(status)
                return
            content = geo.files[self.path]
            self.send_response(200)
            self.send_header("Content-Type", "application/x-gzip")
            self.send_header("Content-Length", str(len(content)))
            accepted = self.headers.get("Accept-Encoding", "")
            if self.path in geo.labelled and "gzip" in accepted:
                self.send_header("Content-Encoding", "gzip")
            self.end_headers()
            self.wfile.write(content[: geo.cut.get(self.path, len(content))])

        def log_message(self, *arguments: object) -> None:
            """Keep quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    geo = GEOServer(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield geo
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def series_matrix(
    samples: list[tuple[str, str, list[str]]],
    values: pd.DataFrame | None = None,
    platform: str = "GPL16791",
    accession: str = "GSE134900",
) -> bytes:
    """A series matrix as GEO writes it, packed.

    Parameters
    ----------
    samples
        (accession, title, characteristics) of each sample.
    values
        Probes x samples, or None for the empty table of an RNA-seq series.
    """

    def row(name: str, cells: list[str]) -> str:
        return "\t".join([name, *(f'"{cell}"' for cell in cells)])

    depth = max(len(characteristics) for _, _, characteristics in samples)
    lines = [
        row("!Series_title", ["Biopsies of patients and controls"]),
        row("!Series_geo_accession", [accession]),
        row("!Series_platform_id", [platform]),
        row("!Series_sample_id", [" ".join(gsm for gsm, _, _ in samples) + " "]),
        "",
        row("!Sample_title", [title for _, title, _ in samples]),
        row("!Sample_geo_accession", [gsm for gsm, _, _ in samples]),
        row("!Sample_status", ["Public on Oct 01 2019"] * len(samples)),
        row("!Sample_source_name_ch1", ["Duodenum"] * len(samples)),
        *(
            row(
                "!Sample_characteristics_ch1",
                [c[i] if i < len(c) else "" for _, _, c in samples],
            )
            for i in range(depth)
        ),
        row("!Sample_platform_id", [platform] * len(samples)),
        row("!Sample_contact_name", ["A,,Person"] * len(samples)),
        row("!Sample_supplementary_file_1", ["NONE"] * len(samples)),
        "!series_matrix_table_begin",
        row("ID_REF", [gsm for gsm, _, _ in samples]).replace("ID_REF", '"ID_REF"'),
    ]
    if values is not None:
        lines += [
            "\t".join([f'"{probe}"', *("" if np.isnan(v) else f"{v:g}" for v in cells)])
            for probe, cells in zip(values.index, values.to_numpy(), strict=True)
        ]
    lines.append("!series_matrix_table_end")
    return gzip.compress(("\n".join(lines) + "\n").encode())


def annotation(symbols: dict[str, str]) -> bytes:
    """The annotation of a platform as GEO writes it, packed."""
    lines = [
        "^Annotation",
        "!Annotation_date = Jan 01 2018",
        "!Annotation_platform = GPL10558",
        "#ID = ID from Platform data table",
        "#Gene symbol = Entrez Gene symbol",
        "!platform_table_begin",
        "ID\tGene title\tGene symbol\tGene ID",
        *(f"{probe}\tsome 5' \"gene\t{symbol}\t1" for probe, symbol in symbols.items()),
        "!platform_table_end",
    ]
    return gzip.compress(("\n".join(lines) + "\n").encode())
