"""Every key with its default; any other config is `base()` and a few lines.

What the keys mean, and their units, stands beside the defaults in maxlm/train/config.py, maxlm/models/config.py and
maxlm/parallel/mesh.py. To see them all, resolved:

    maxlm train --config=configs/base.py --workdir=RUN --print-config
"""

from maxlm.train.config import base


def get_config():
    return base()
