"""From a training position to its documents and back, on the index that `export` wrote."""

from pretrain_data.trace.places import Trace

__all__ = ["Trace"]
