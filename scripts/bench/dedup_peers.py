"""The tools that dedup is set beside: what each is installed from, and how it is told what to do."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import harness


@dataclass(frozen=True)
class Peer:
    """A program below peers/ and its packages; `chinese` are the arguments by which its makers would run Chinese."""

    name: str
    packages: tuple[str, ...]
    program: str
    chinese: tuple[str, ...] = ()
    #: Whether it can be told a threshold; datatrove's is where its bands put it.
    threshold: bool = True

    def run(
        self, documents: Path, work: Path, arguments: tuple[str, ...] = (), threshold: float = 0.75
    ) -> harness.Used:
        """Deduplicate a folder of Parquet (id, text); what it keeps is then `kept`."""
        python = harness.environment_of(self.name, self.packages, work)
        out = self._out(work)
        shutil.rmtree(out, ignore_errors=True)
        told = ("--threshold", threshold) if self.threshold else ()
        program = Path(__file__).parent / "peers" / self.program
        return harness.measure([python, program, documents, out, *told, *arguments])

    def kept(self, work: Path) -> set[str]:
        """Ids that the last run kept."""
        return set((self._out(work) / "kept.txt").read_text().split("\n")[:-1])

    def _out(self, work: Path) -> Path:
        return work / f"theirs-{self.name}"


TORCH = "torch==2.13.0"
PEERS = {
    peer.name: peer
    for peer in (
        Peer(
            "datatrove",
            ("datatrove[io]==0.10.1", "spacy>=3.8", "jieba", "nltk", "regex", "tokenizers", "xxhash<4", "orjson"),
            "datatrove_dedup.py",
            ("--language", "zh"),
            threshold=False,
        ),
        Peer("text-dedup", (TORCH, "text-dedup==0.4.0"), "text_dedup_minhash.py", ("--tokens", "2")),
        Peer(
            "data-juicer",
            (TORCH, "py-data-juicer==1.6.1", "aiohttp", "ftfy", "scipy", "ray"),
            "data_juicer_minhash.py",
            ("--tokenization", "character"),
        ),
        Peer(
            "data-prep-kit",
            (TORCH, "data-prep-toolkit-transforms[fdedup]==1.1.8", "pyarrow<22"),
            "data_prep_kit_fdedup.py",
            ("--shingles", "char"),
        ),
    )
}
